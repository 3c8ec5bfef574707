-- The rescuer: leases that had run out at $1 are nobody's any more, whatever their holders do from now on. Leases are few.
UPDATE leases SET taken_at = rotor_now() WHERE expires_at <= $1 AND taken_at IS NULL
