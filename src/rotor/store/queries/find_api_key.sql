-- Whose a key is that holds now, what it allows, and whether its last use is more than a minute back.
-- Called by store.keys, at most once a second for each key in use. Index: api_keys_key_hash_key. Locks: none.
SELECT api_keys.id, api_keys.name, workspace_id, workspaces.name AS workspace, scopes,
       last_used_at IS NULL OR last_used_at < rotor_now() - interval '1 minute' AS use_is_news
FROM api_keys
JOIN workspaces ON workspaces.id = workspace_id
WHERE key_hash = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > rotor_now())
