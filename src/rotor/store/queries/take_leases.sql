-- The rescuer: leases that had run out at $1 are nobody's any more, whatever their holders do from now on. Leases are few. Locked in
-- the order of ids, as writers lock them: waits for what is being written under one (put_progress).
WITH locked AS MATERIALIZED (
    SELECT id FROM leases WHERE expires_at <= $1 AND taken_at IS NULL ORDER BY id FOR NO KEY UPDATE
)
UPDATE leases SET taken_at = rotor_now() FROM locked WHERE leases.id = locked.id
