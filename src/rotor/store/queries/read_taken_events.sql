-- The committer: which (run, event) pairs a wait has already taken. Index steps_taken, no locks.
SELECT steps.run_id, steps.event_id
FROM steps
JOIN unnest($1::uuid[], $2::text[]) AS wanted (run_id, event_id) USING (run_id, event_id)
WHERE steps.op = 'wait_for_event'
