-- The committer: parked steps that have come to their end, under the runs' locks. Primary key look-ups.
DELETE FROM waits
USING unnest($1::uuid[], $2::text[], $3::int[]) AS gone (run_id, step_id, step_index)
WHERE waits.run_id = gone.run_id AND waits.step_id = gone.step_id AND waits.step_index = gone.step_index
