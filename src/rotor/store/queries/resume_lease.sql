-- A worker comes back on a lease that has not been taken; its earlier connections have no say over it any more. Primary key.
UPDATE leases SET expires_at = rotor_now() + $3::interval, connection = connection + 1
WHERE workspace_id = $1 AND id = $2 AND kind = 'worker' AND taken_at IS NULL
RETURNING connection
