-- The API: the app that an invocation was posted to begins. Primary key.
UPDATE leases SET connection = 1 WHERE workspace_id = $1 AND id = $2 AND kind = 'invocation'
