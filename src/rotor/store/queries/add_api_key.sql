-- Keep a new API key: its hash, never its secret. $7: how long it holds; NULL: until it is revoked.
-- Called by store.keys. Locks: the new row.
INSERT INTO api_keys (workspace_id, id, name, prefix, key_hash, scopes, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, rotor_now() + $7::interval)
RETURNING expires_at
