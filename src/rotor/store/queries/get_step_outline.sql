-- One step of a run with the beginning of its output ($5 bytes) and what it waits for.
-- Called by store.outlines for people. Index: steps_pkey, runs_pkey, waits_pkey. Locks: none.
SELECT steps.id, index, op, steps.status, attempts, child_run_id, steps.event_id, waits_for, steps.deadline, steps.started_at,
       steps.ended_at,
       version_at(runs.versions, runs.versions_since, coalesce(CASE WHEN op IN ('run', 'send_event') THEN steps.ended_at END, steps.started_at))
           AS version,
       payload_head(steps.output, $5) AS output_head, payload_size(steps.output) AS output_bytes, steps.error,
       waits.equals, waits.expression
FROM steps
JOIN runs ON runs.id = steps.run_id
LEFT JOIN waits ON waits.run_id = steps.run_id AND waits.step_id = steps.id AND waits.step_index = steps.index
WHERE runs.workspace_id = $1 AND runs.id = $2
  AND steps.id = $3 AND steps.index = $4
