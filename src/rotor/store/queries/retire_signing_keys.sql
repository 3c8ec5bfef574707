-- Retire the signing keys of a workspace, but for one ($2).
-- Called by store.signing_keys under the lock of the workspace's row. Index: signing_keys_workspace. Locks: the rows.
UPDATE signing_keys SET retired_at = rotor_now() WHERE workspace_id = $1 AND retired_at IS NULL AND key <> $2
