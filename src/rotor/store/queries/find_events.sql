-- The matcher: for each wait ($1 to $3) up to $5 events after position $4 that it may take, earliest first: those indexed
-- under its hash, and those of its name from before its path was indexed (all of its name where it names no path).
-- Left out are the events that its run has taken, and the one that started it. Indexes event_values and events_name.
SELECT waits.run_id, waits.step_id, waits.step_index, candidate.id, candidate.name, candidate.data, candidate.ts,
       candidate.position
FROM unnest($1::uuid[], $2::text[], $3::int[], $4::bigint[]) AS wanted (run_id, step_id, step_index, after)
JOIN waits ON waits.run_id = wanted.run_id AND waits.step_id = wanted.step_id AND waits.step_index = wanted.step_index
JOIN runs ON runs.id = waits.run_id
LEFT JOIN event_paths ON event_paths.workspace_id = waits.workspace_id AND event_paths.name = substr(waits.topic, 7)
                     AND event_paths.path = waits.path
CROSS JOIN LATERAL (
    SELECT events.id, events.name, events.data, events.ts, events.position
    FROM (
        SELECT found.event_id FROM event_values AS found
        WHERE waits.path IS NOT NULL AND found.workspace_id = waits.workspace_id AND found.name = substr(waits.topic, 7)
          AND found.match_hash = waits.match_hash AND found.position > wanted.after
        UNION ALL
        SELECT earlier.id FROM events AS earlier
        WHERE earlier.workspace_id = waits.workspace_id AND earlier.name = substr(waits.topic, 7)
          AND earlier.effective_at >= waits.since AND earlier.position > wanted.after
          AND earlier.effective_at <= CASE WHEN waits.path IS NULL THEN 'infinity' ELSE event_paths.indexed_from END
    ) AS place (event_id)
    JOIN events ON events.workspace_id = waits.workspace_id AND events.id = place.event_id
    WHERE events.effective_at >= waits.since
      AND events.id <> runs.event_id
      AND NOT EXISTS (
          SELECT FROM steps
          WHERE steps.run_id = waits.run_id AND steps.event_id = events.id AND steps.op = 'wait_for_event')
    ORDER BY events.position
    LIMIT $5
) AS candidate
ORDER BY waits.run_id, waits.step_id, waits.step_index, candidate.position
