-- Delete the triggers of functions ($2) whose triggers are written anew in the same transaction.
-- Called by store.functions under the lock of the workspace's row. Index: triggers_pkey. Locks: the rows.
DELETE FROM triggers WHERE workspace_id = $1 AND function_id = ANY($2::text[])
