-- Keep a new signing key.
-- Called by store.signing_keys under the lock of the workspace's row. Locks: the new row.
INSERT INTO signing_keys (workspace_id, key) VALUES ($1, $2)
