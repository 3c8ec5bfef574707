-- The committer, for runs that nobody but their holder has anything to do with: results of steps and ends of runs. The results are
-- written where the leases of all these holders stand (those of workers with this connection), all the runs are theirs, and nobody
-- has asked for the cancellation of one; else nothing is written, and no row returned. A result of a step that has a row already
-- is a unique violation. Primary keys. A lease's row is held FOR SHARE to the commit: whoever takes its runs away marks it taken
-- first, and waits.
-- Returns the commit's number, and the runs that ended. Ids and numbers come as one text each, which costs asyncpg less.
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
), ended AS (
    UPDATE runs
    SET status = 'completed', lease_id = NULL, output = new.output, ended_at = batch.now, changed_group = batch.number
    FROM batch,
         unnest(string_to_array($9, ',')::uuid[], string_to_array($10, ',')::int[], $11::bytea[]) AS new (id, lease, output)
    WHERE runs.id = new.id AND (runs.lease_id = ($1)[new.lease]) IS TRUE -- no index of leases, which hold many runs, serves that
      AND runs.parent_run_id IS NULL AND runs.cancel_requested_at IS NULL
      AND NOT EXISTS (SELECT FROM steps WHERE steps.run_id = new.id AND steps.ended_at IS NULL)
    RETURNING runs.id
)
SELECT number, (SELECT array_agg(id::text) FROM ended) AS ended
FROM batch
