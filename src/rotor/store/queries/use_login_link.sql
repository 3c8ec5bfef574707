-- A login link ($1) is used: its key gets a hash that nobody has a key for ($2) and the length of a session ($3). So it is used once.
-- Called by store.keys. Index: api_keys_key_hash_key. Locks: the row; a second use waits for the first, and finds nothing.
UPDATE api_keys
SET key_hash = $2, expires_at = rotor_now() + $3::interval, last_used_at = rotor_now()
WHERE key_hash = $1 AND revoked_at IS NULL AND expires_at > rotor_now()
RETURNING id
