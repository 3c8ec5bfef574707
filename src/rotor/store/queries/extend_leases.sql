-- The keeper of leases: those whose holders are alive. One that ran out is kept all the same, unless the rescuer has taken it: the
-- database may have been away for longer than a lease lasts. Returns the ones that hold.
UPDATE leases SET expires_at = rotor_now() + $2::interval
WHERE id = ANY ($1::uuid[]) AND taken_at IS NULL
RETURNING id
