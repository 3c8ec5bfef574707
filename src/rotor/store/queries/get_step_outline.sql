-- One step of a run with the beginning of its output ($5 bytes) and what it waits for.
-- Called by store.outlines for people. Index: steps_pkey, runs_pkey, waits_pkey. Locks: none.
SELECT steps.id, index, op, status, attempts, child_run_id, event_id, waits_for, steps.deadline, started_at, ended_at,
       substring(output FROM 1 FOR $5) AS output_head, octet_length(output) AS output_bytes, error,
       waits.equals, waits.expression
FROM steps
LEFT JOIN waits ON waits.run_id = steps.run_id AND waits.step_id = steps.id AND waits.step_index = steps.index
WHERE steps.run_id = (SELECT runs.id FROM runs WHERE runs.workspace_id = $1 AND runs.id = $2)
  AND steps.id = $3 AND steps.index = $4
