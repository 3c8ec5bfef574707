-- The keeper of leases: those whose holders are alive. One that ran out stays so. Returns the ones that still hold.
UPDATE leases SET expires_at = rotor_now() + $2::interval
WHERE id = ANY ($1::uuid[]) AND expires_at > rotor_now()
RETURNING id
