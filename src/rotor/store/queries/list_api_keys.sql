-- The keys of one workspace ($1), or of all where it is null, newest first.
-- Called by store.keys for people. Reads the whole table, which is small. Locks: none.
SELECT api_keys.id, workspaces.name AS workspace, api_keys.name, prefix, scopes, api_keys.created_at, expires_at, last_used_at,
       revoked_at, coalesce(expires_at <= rotor_now(), false) AS expired
FROM api_keys
JOIN workspaces ON workspaces.id = api_keys.workspace_id
WHERE $1::text IS NULL OR workspaces.name = $1
ORDER BY api_keys.id DESC
