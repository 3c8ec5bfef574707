-- The committer: put_progress for a batch that ends no run, which nearly all are where little goes on. It has the first eight
-- parameters and no part for ends, which is set up also where it writes nothing: a tenth of the statement of a single step.
-- Returns the commit's number.
WITH held AS MATERIALIZED (
    SELECT leases.id
    FROM unnest($1::uuid[], $2::int[]) AS given (id, connection)
    JOIN leases ON leases.id = given.id AND leases.connection = coalesce(given.connection, leases.connection)
        AND leases.taken_at IS NULL
    ORDER BY leases.id
    FOR SHARE OF leases
), batch AS MATERIALIZED (
    SELECT nextval('commit_group') AS number, rotor_now() AS now
    WHERE (SELECT count(*) FROM held) = cardinality($1)
      AND NOT EXISTS (
          SELECT FROM unnest(string_to_array($3, ',')::uuid[], string_to_array($4, ',')::int[]) AS new (run_id, lease)
          WHERE (SELECT lease_id FROM runs WHERE id = new.run_id AND cancel_requested_at IS NULL) IS DISTINCT FROM ($1)[new.lease]
      )
), put AS (
    INSERT INTO steps (run_id, id, index, op, status, attempts, output, started_at, ended_at, settled_group, position)
    SELECT run_id, id, index, 'run', 'completed', 1, output, batch.now - elapsed_ms * interval '1 millisecond', batch.now,
           batch.number, position
    FROM batch,
         unnest(string_to_array($3, ',')::uuid[], $5::text[], string_to_array($6, ',')::int[], $7::bytea[],
                string_to_array($8, ',')::int[])
         WITH ORDINALITY AS new (run_id, id, index, output, elapsed_ms, position)
)
SELECT number
FROM batch
