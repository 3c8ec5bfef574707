-- Lock a workspace's row: its keys and functions change one transaction at a time.
-- Called by store.functions and store.signing_keys. Index: workspaces_pkey. Locks: the row, leaving it free to foreign keys.
SELECT id FROM workspaces WHERE id = $1 FOR NO KEY UPDATE
