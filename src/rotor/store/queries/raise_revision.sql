-- Functions have been registered or deleted: what other transactions knew of the triggers is no longer so.
-- Called by store.functions under the lock of the workspace's row. Index: workspaces_pkey. Locks: the row.
UPDATE workspaces SET revision = revision + 1 WHERE id = $1
