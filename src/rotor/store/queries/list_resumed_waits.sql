-- Steps that took one event ($2), by the newest of their runs first; $3 is how many at most.
-- Called by store.event_lists for people. Index: steps_taken, runs_pkey. Locks: none.
SELECT steps.run_id, runs.function_id, steps.id AS step_id, steps.index, steps.ended_at
FROM steps
-- Not a plain comparison of the workspace: that would let an index be read that has all its runs.
JOIN runs ON runs.id = steps.run_id AND (runs.workspace_id = $1) IS TRUE
WHERE steps.event_id = $2 AND steps.op = 'wait_for_event'
ORDER BY steps.run_id DESC
LIMIT $3
