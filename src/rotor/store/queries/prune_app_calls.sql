-- Forget the calls of apps that were not called for $1, at most $2 of them.
-- Called by store.retention. Reads the whole table, which is small. Locks: the rows.
WITH gone AS (
    DELETE FROM app_calls
    WHERE (workspace_id, serve_url) IN (
        SELECT workspace_id, serve_url FROM app_calls
        WHERE coalesce(greatest(answered_at, unreached_at), '-infinity') < rotor_now() - $1::interval
        LIMIT $2
    )
    RETURNING 1
)
SELECT count(*) FROM gone
