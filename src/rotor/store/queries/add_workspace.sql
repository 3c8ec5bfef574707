-- Make a workspace unless it exists.
-- Called by store.workspaces. Index: workspaces_name_key. Locks: the new row.
INSERT INTO workspaces (name) VALUES ($1::text) ON CONFLICT (name) DO NOTHING
