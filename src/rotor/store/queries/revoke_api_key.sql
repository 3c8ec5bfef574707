-- Revoke a key; the first time of several is kept.
-- Called by store.keys. Index: api_keys_pkey. Locks: the row.
UPDATE api_keys SET revoked_at = coalesce(revoked_at, rotor_now()) WHERE id = $1 RETURNING workspace_id
