-- A holder's connection is gone: it has $2 to come back. Primary key.
UPDATE leases SET expires_at = least(expires_at, rotor_now() + $2::interval) WHERE id = $1
