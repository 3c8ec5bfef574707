-- Lock a workspace's row and return its id: its keys and functions change one transaction at a time.
-- Called by store.workspaces. Index: workspaces_name_key. Locks: the row, leaving it free to foreign keys.
SELECT id FROM workspaces WHERE name = $1 FOR NO KEY UPDATE
