-- Keep a new API key: its hash, never its secret.
-- Called by store.keys. Locks: the new row.
INSERT INTO api_keys (id, workspace_id, name, prefix, key_hash) VALUES ($1, $2, $3, $4, $5)
