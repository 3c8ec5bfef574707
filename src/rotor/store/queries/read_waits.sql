-- The matcher: waits for events by key, in the order in which they were registered. Primary key look-ups, no locks.
SELECT waits.run_id, waits.step_id, waits.step_index, waits.workspace_id, waits.topic, waits.path, waits.equals,
       waits.expression, waits.since, waits.unlooked
FROM waits
JOIN unnest($1::uuid[], $2::text[], $3::int[]) AS wanted (run_id, step_id, step_index) USING (run_id, step_id, step_index)
JOIN steps ON steps.run_id = waits.run_id AND steps.id = waits.step_id AND steps.index = waits.step_index
WHERE waits.match_hash IS NOT NULL
ORDER BY steps.settled_group, steps.position
