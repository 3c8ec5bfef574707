-- The signing keys of a workspace that are not retired, newest first.
-- Called by store.signing_keys, at most once a second for each workspace in use. Index: signing_keys_workspace. Locks: none.
SELECT key FROM signing_keys WHERE workspace_id = $1 AND retired_at IS NULL ORDER BY id DESC
