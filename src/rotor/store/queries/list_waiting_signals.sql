-- One page of the signals that runs of a workspace wait for, the newest runs first, each with its step and deadline.
-- $2 and $3 the run and signal before the page, $4 its size and one.
-- Called by store.waiting for people. Index: signals_waiting, waits_pkey, runs_pkey. Locks: none.
SELECT signals.id, signals.run_id, signals.step_id, signals.step_index, waits.deadline, runs.function_id, runs.created_at
FROM signals
JOIN runs ON runs.id = signals.run_id
LEFT JOIN waits ON waits.run_id = signals.run_id AND waits.step_id = signals.step_id AND waits.step_index = signals.step_index
WHERE signals.workspace_id = $1 AND signals.run_id IS NOT NULL AND signals.completed_at IS NULL
  AND (signals.run_id, signals.id) < (coalesce($2::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'), coalesce($3::text, ''))
ORDER BY signals.run_id DESC, signals.id DESC
LIMIT $4
