-- The keeper of leases: those whose holders are alive, by the connection $2 of each that is a worker's. One that ran out is kept all
-- the same, unless the rescuer has taken it: the database may have been away for longer than a lease lasts. Locked in the order
-- of ids, as writers lock them. Returns the ones that hold.
WITH locked AS MATERIALIZED (
    SELECT leases.id
    FROM unnest($1::uuid[], $2::int[]) AS given (id, connection)
    JOIN leases USING (id)
    WHERE taken_at IS NULL AND (given.connection IS NULL OR leases.connection = given.connection)
    ORDER BY leases.id
    FOR NO KEY UPDATE OF leases
)
UPDATE leases SET expires_at = rotor_now() + $3::interval
FROM locked WHERE leases.id = locked.id
RETURNING leases.id
