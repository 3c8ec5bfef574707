-- Whose a key is that has begun a session, unless it has been revoked since.
-- Called by store.sessions, at most once a second for each key in use. Index: api_keys_key_hash_key. Locks: none.
SELECT workspace_id, workspaces.name AS workspace
FROM api_keys
JOIN workspaces ON workspaces.id = workspace_id
WHERE key_hash = $1 AND revoked_at IS NULL
