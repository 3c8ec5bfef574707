-- The keeper of leases: apps ($1 workspaces, $2 addresses) that this server has called lately, and whether the last call was answered.
-- Index: app_calls_pkey. Locks: the rows, in one order.
INSERT INTO app_calls (workspace_id, serve_url, answered_at, unreached_at)
SELECT workspace_id, serve_url, CASE WHEN answered THEN rotor_now() END, CASE WHEN NOT answered THEN rotor_now() END
FROM unnest($1::bigint[], $2::text[], $3::boolean[]) AS called (workspace_id, serve_url, answered)
ORDER BY workspace_id, serve_url
ON CONFLICT (workspace_id, serve_url) DO UPDATE
SET answered_at = coalesce(excluded.answered_at, app_calls.answered_at),
    unreached_at = excluded.unreached_at
