-- What of a workspace comes due next: sleeps, retries and timeouts. Of all deadlines the $2 nearest are looked at, and at most $3 given.
-- Called by store.waiting for people. Index: waits_deadline, steps_pkey, runs_pkey. Locks: none.
SELECT next.deadline, next.run_id, next.step_id, next.step_index, runs.function_id, steps.op, steps.status, steps.waits_for
FROM (
    SELECT deadline, run_id, step_id, step_index
    FROM (SELECT * FROM waits WHERE deadline IS NOT NULL ORDER BY deadline LIMIT $2) AS nearest
    WHERE workspace_id = $1
    ORDER BY deadline
    LIMIT $3
) AS next
JOIN runs ON runs.id = next.run_id
JOIN steps ON steps.run_id = next.run_id AND steps.id = next.step_id AND steps.index = next.step_index
ORDER BY next.deadline
