-- The matcher: for each wait ($1 to $3) up to $6 events after a place ($4 and $5; NULL: as far back as it looks) that it may take, in
-- the order in which they took effect: those indexed under its hash, and those of its name from before its path was indexed (all of
-- its name where it names no path); one may be among both. Left out are the events that its run has taken, and the one that started
-- it. A wait for which there is none has looked back. Two ranges of the indexes event_values_pkey and events_name, each read in order
-- and no further than the page. OFFSET 0: not a join, which could go by the run alone, through all that was ever taken.
WITH looked AS MATERIALIZED (
    SELECT waits.run_id, waits.step_id, waits.step_index, waits.workspace_id, place.event_id, place.effective_at, place.position
    FROM unnest($1::uuid[], $2::text[], $3::int[], $4::timestamptz[], $5::bigint[])
         AS wanted (run_id, step_id, step_index, after_at, after_position)
    JOIN waits ON waits.run_id = wanted.run_id AND waits.step_id = wanted.step_id AND waits.step_index = wanted.step_index
    JOIN runs ON runs.id = waits.run_id
    LEFT JOIN event_paths ON event_paths.workspace_id = waits.workspace_id AND event_paths.name = substr(waits.topic, 7)
                         AND event_paths.path = waits.path
    CROSS JOIN LATERAL (
        SELECT coalesce(wanted.after_at, waits.since) AS at, coalesce(wanted.after_position, -1) AS position
    ) AS after
    LEFT JOIN LATERAL (
        (
            SELECT found.event_id, found.effective_at, found.position
            FROM event_values AS found
            WHERE waits.path IS NOT NULL AND found.workspace_id = waits.workspace_id AND found.name = substr(waits.topic, 7)
              AND found.match_hash = waits.match_hash AND (found.effective_at, found.position) > (after.at, after.position)
              AND found.event_id <> runs.event_id
              AND NOT EXISTS (
                  SELECT FROM steps
                  WHERE steps.run_id = waits.run_id AND steps.event_id = found.event_id AND steps.op = 'wait_for_event'
                  OFFSET 0)
            ORDER BY found.effective_at, found.position
            LIMIT $6
        ) UNION ALL (
            SELECT earlier.id, earlier.effective_at, earlier.position
            FROM events AS earlier
            WHERE earlier.workspace_id = waits.workspace_id AND earlier.name = substr(waits.topic, 7)
              AND earlier.effective_at IS NOT NULL
              AND (earlier.effective_at, earlier.position) > (after.at, after.position)
              AND earlier.effective_at <= CASE WHEN waits.path IS NULL THEN 'infinity' ELSE event_paths.indexed_from END
              AND earlier.id <> runs.event_id
              AND NOT EXISTS (
                  SELECT FROM steps
                  WHERE steps.run_id = waits.run_id AND steps.event_id = earlier.id AND steps.op = 'wait_for_event'
                  OFFSET 0)
            ORDER BY earlier.effective_at, earlier.position
            LIMIT $6
        )
        ORDER BY effective_at, position
        LIMIT $6
    ) AS place ON true
), done AS (
    UPDATE waits SET unlooked = false
    FROM looked
    WHERE looked.event_id IS NULL AND waits.unlooked
      AND waits.run_id = looked.run_id AND waits.step_id = looked.step_id AND waits.step_index = looked.step_index
)
SELECT run_id, step_id, step_index, workspace_id, event_id, effective_at, position,
       -- Not a join: that could be planned as a scan of the workspace's events for each wait.
       coalesce((SELECT octet_length(data) FROM events WHERE workspace_id = looked.workspace_id AND id = looked.event_id), 0) AS size
FROM looked
WHERE event_id IS NOT NULL
ORDER BY run_id, step_id, step_index, effective_at, position
