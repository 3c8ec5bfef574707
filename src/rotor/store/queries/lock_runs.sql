-- The committer, first statement of each batch: the runs of the batch ($1) and the parents of those that may end ($2), each
-- with the number of its worker's connection, if its lease is one of $3 and stands; a waiting run with that of who keeps its body,
-- if its lease is one of $4 and lasts, and the function is neither paused nor served over HTTP: that is held FOR KEY SHARE to the commit,
-- so that who pauses it waits for the run to go on, or it for the pause. Primary key look-ups.
-- Locks first the leases FOR SHARE and then the runs FOR NO KEY UPDATE, each in the order of ids, held to the commit: whoever
-- writes a run's steps or waits holds its row, so fencing, the order of commits and the count of settled waits are exact;
-- and a worker that comes back waits for what is being written of its earlier connection. All who lock both take leases first.
-- The count makes sure of that order: Postgres computes it before it looks at the first run.
WITH wanted AS MATERIALIZED (
    SELECT unnest($1::uuid[]) AS id
    UNION
    SELECT parent_run_id FROM runs WHERE id = ANY ($2::uuid[]) AND parent_run_id IS NOT NULL
), held AS MATERIALIZED (
    SELECT leases.id, leases.connection, leases.expires_at > rotor_now() AS lasts
    FROM leases
    WHERE leases.id = ANY (ARRAY(
        SELECT unnest($3::uuid[])
        UNION
        SELECT kept.kept_by FROM wanted JOIN runs AS kept ON kept.id = wanted.id AND kept.kept_by = ANY ($4::uuid[])
        WHERE cardinality($4::uuid[]) > 0))
      AND leases.taken_at IS NULL
    ORDER BY leases.id
    FOR SHARE OF leases
), locked AS MATERIALIZED (
    SELECT runs.id, runs.workspace_id, runs.function_id, runs.status, runs.created_at, runs.lease_id, runs.attempt,
           runs.settled, runs.losses, runs.depth, runs.cancel_requested_at IS NOT NULL AS cancelling, runs.kept_by,
           runs.parent_run_id, runs.parent_step_id, runs.parent_step_index
    FROM runs
    JOIN wanted USING (id)
    WHERE (SELECT count(*) FROM held) >= 0
    ORDER BY runs.id
    FOR NO KEY UPDATE OF runs
)
SELECT locked.*, held.connection,
       CASE WHEN locked.status = 'waiting' AND keeper.lasts THEN (
           SELECT keeper.connection FROM functions
           WHERE functions.workspace_id = locked.workspace_id AND functions.id = locked.function_id
             AND functions.paused_at IS NULL AND functions.serve_url IS NULL
           FOR KEY SHARE OF functions) END AS keeper
FROM locked
LEFT JOIN held ON held.id = locked.lease_id
LEFT JOIN held AS keeper ON keeper.id = locked.kept_by
