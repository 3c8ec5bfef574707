-- The committer: which (run, event) pairs a wait has already taken. Index steps_taken, no locks.
SELECT wanted.run_id, wanted.event_id
FROM unnest($1::uuid[], $2::text[]) AS wanted (run_id, event_id)
-- Not a plain join: on a small table that could be planned as a scan of all that was ever taken.
CROSS JOIN LATERAL (
    SELECT FROM steps
    WHERE steps.run_id = wanted.run_id AND steps.event_id = wanted.event_id AND steps.op = 'wait_for_event'
    LIMIT 1
) AS taken
