-- Delete a function and, by its foreign key, its triggers.
-- Called by store.functions under the lock of the workspace's row. Index: functions_pkey. Locks: the rows.
DELETE FROM functions WHERE workspace_id = $1 AND id = $2 RETURNING id
