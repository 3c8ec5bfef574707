-- The committer, first statement of each batch: the runs of the batch ($1) and the parents of those that may end ($2), each
-- with the number of its worker's connection, if its lease is one of $3 and stands. Primary key look-ups.
-- Locks first the leases FOR SHARE and then the runs FOR NO KEY UPDATE, each in the order of ids, held to the commit: whoever
-- writes a run's steps or waits holds its row, so fencing, the order of commits and the count of settled waits are exact;
-- and a worker that comes back waits for what is being written of its earlier connection. All who lock both take leases first.
-- The count makes sure of that order: Postgres computes it before it looks at the first run.
WITH held AS MATERIALIZED (
    SELECT id, connection FROM leases WHERE id = ANY ($3::uuid[]) AND taken_at IS NULL ORDER BY id FOR SHARE
), wanted AS (
    SELECT unnest($1::uuid[]) AS id
    UNION
    SELECT parent_run_id FROM runs WHERE id = ANY ($2::uuid[]) AND parent_run_id IS NOT NULL
), locked AS MATERIALIZED (
    SELECT runs.id, runs.workspace_id, runs.function_id, runs.status, runs.created_at, runs.lease_id, runs.attempt,
           runs.settled, runs.losses, runs.depth, runs.cancel_requested_at IS NOT NULL AS cancelling,
           runs.parent_run_id, runs.parent_step_id, runs.parent_step_index
    FROM runs
    JOIN wanted USING (id)
    WHERE (SELECT count(*) FROM held) >= 0
    ORDER BY runs.id
    FOR NO KEY UPDATE OF runs
)
SELECT locked.*, held.connection
FROM locked
LEFT JOIN held ON held.id = locked.lease_id
