-- The id of a workspace by its name.
-- Called by store.workspaces. Index: workspaces_name_key. Locks: none.
SELECT id FROM workspaces WHERE name = $1
