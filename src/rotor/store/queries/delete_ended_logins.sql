-- Forget the sessions of a workspace that login links began and that have been over for 30 days.
-- Called by store.keys where a new link is made. Reads the whole table, which is small. Locks: the rows.
DELETE FROM api_keys
WHERE workspace_id = $1 AND prefix = 'login' AND expires_at < rotor_now() - interval '30 days'
