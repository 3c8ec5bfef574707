-- A worker comes back on a lease that has not run out. Primary key.
UPDATE leases SET expires_at = rotor_now() + $3::interval
WHERE id = $1 AND workspace_id = $2 AND kind = 'worker' AND expires_at > rotor_now()
RETURNING id
