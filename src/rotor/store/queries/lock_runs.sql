-- The committer, first statement of each batch: the runs of the batch ($1) and the parents of those that may end ($2).
-- Primary key look-ups. Row locks FOR NO KEY UPDATE in the order of ids, held to the commit: whoever writes a run's steps
-- or waits holds its row, so fencing, the order of commits and the count of settled waits are exact.
WITH wanted AS (
    SELECT unnest($1::uuid[]) AS id
    UNION
    SELECT parent_run_id FROM runs WHERE id = ANY ($2::uuid[]) AND parent_run_id IS NOT NULL
)
SELECT runs.id, runs.workspace_id, runs.function_id, runs.status, runs.created_at, runs.lease_id, runs.attempt,
       runs.settled, runs.losses, runs.depth, runs.cancel_requested_at IS NOT NULL AS cancelling,
       runs.parent_run_id, runs.parent_step_id, runs.parent_step_index
FROM runs
JOIN wanted USING (id)
ORDER BY runs.id
FOR NO KEY UPDATE OF runs
