-- The matcher: waits whose look back is done. Primary key.
UPDATE waits SET unlooked = false
FROM unnest($1::uuid[], $2::text[], $3::int[]) AS done (run_id, step_id, step_index)
WHERE waits.run_id = done.run_id AND waits.step_id = done.step_id AND waits.step_index = done.step_index AND waits.unlooked
