-- The latest steps of a run in the order in which they began, with the beginnings of their outputs and what they wait for.
-- $3 is how many at most, $4 how many bytes of each output, $5 how many bytes of errors in all.
-- Called by store.outlines for people. Index: steps_pkey, runs_pkey, waits_pkey. Locks: none.
WITH latest AS (
    SELECT run_id, steps.id, index, op, steps.status, attempts, steps.error, child_run_id, steps.event_id, waits_for, deadline,
           steps.started_at, steps.ended_at,
           version_at(runs.versions, runs.versions_since, coalesce(CASE WHEN op IN ('run', 'send_event') THEN steps.ended_at END, steps.started_at))
               AS version,
           payload_head(steps.output, $4) AS output_head, payload_size(steps.output) AS output_bytes
    FROM steps
    JOIN runs ON runs.id = steps.run_id
    WHERE runs.workspace_id = $1 AND runs.id = $2
    ORDER BY steps.started_at DESC, steps.id DESC, index DESC
    LIMIT $3
), measured AS (
    SELECT *, sum(octet_length(error)) OVER (ORDER BY started_at DESC, id DESC, index DESC) AS error_bytes
    FROM latest
)
SELECT measured.id, index, op, status, attempts, child_run_id, event_id, waits_for, measured.deadline, started_at, ended_at,
       version, output_head, output_bytes, CASE WHEN error_bytes <= $5 THEN error END AS error,
       waits.equals, waits.expression
FROM measured
LEFT JOIN waits ON waits.run_id = measured.run_id AND waits.step_id = measured.id AND waits.step_index = measured.index
ORDER BY started_at, measured.id, index
