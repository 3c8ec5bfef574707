-- Note that a key is in use; of several servers that see it in one minute, one writes.
-- Called by store.keys, at most once a minute for each key. Index: api_keys_pkey. Locks: the row.
UPDATE api_keys
SET last_used_at = rotor_now()
WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < rotor_now() - interval '1 minute')
