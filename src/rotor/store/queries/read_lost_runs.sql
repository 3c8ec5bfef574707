-- The rescuer: runs whose holder's lease has run out or is gone. Index runs_held; leases are few.
SELECT runs.id, runs.lease_id
FROM runs
LEFT JOIN leases ON leases.id = runs.lease_id
WHERE runs.lease_id IS NOT NULL AND (leases.id IS NULL OR leases.expires_at <= rotor_now())
LIMIT $1
