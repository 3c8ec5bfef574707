-- The API: the app that an invocation was posted to begins. Primary key.
UPDATE leases SET connection = 1 WHERE id = $1 AND kind = 'invocation'
