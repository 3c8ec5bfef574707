-- The workspaces, oldest first, with how many keys of each hold and how many functions it has.
-- Called by store.workspaces for people. Reads whole tables, which are small. Locks: none.
SELECT name, created_at,
       (SELECT count(*) FROM api_keys
        WHERE workspace_id = workspaces.id AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > rotor_now())) AS keys,
       (SELECT count(*) FROM functions WHERE workspace_id = workspaces.id) AS functions
FROM workspaces
ORDER BY id
