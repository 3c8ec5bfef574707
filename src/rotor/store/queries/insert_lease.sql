-- A worker's connection takes a lease.
INSERT INTO leases (workspace_id, id, kind, holder, app, version, slots, expires_at)
VALUES ($1, $2, 'worker', $3, $4, $5, $6, rotor_now() + $7::interval)
