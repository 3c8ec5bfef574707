-- The keeper of leases: those whose holders are alive. One that ran out is kept all the same, unless the rescuer has taken it: the
-- database may have been away for longer than a lease lasts. Locked in the order of ids, as writers lock them. Returns
-- the ones that hold.
WITH locked AS MATERIALIZED (
    SELECT id FROM leases WHERE id = ANY ($1::uuid[]) AND taken_at IS NULL ORDER BY id FOR NO KEY UPDATE
)
UPDATE leases SET expires_at = rotor_now() + $2::interval
FROM locked WHERE leases.id = locked.id
RETURNING leases.id
