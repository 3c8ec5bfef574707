-- A holder's connection ($2) is gone: it has $3 to come back, unless it has come back already. Primary key.
UPDATE leases SET expires_at = least(expires_at, rotor_now() + $3::interval) WHERE id = $1 AND connection = $2
