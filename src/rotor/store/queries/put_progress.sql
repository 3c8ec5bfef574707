-- The committer, for runs that nobody but their holder has anything to do with: results of steps and ends of runs, where the
-- leases of all these holders stand (those of workers with this connection), and as far as nobody has asked for cancellation.
-- Primary key look-ups and upserts; a step that has ended is left as it is. A lease's row is held FOR SHARE to the commit:
-- whoever takes its runs away marks it taken first, and waits.
-- Returns the commit's number, how many results it wrote, and the runs that ended.
WITH held AS MATERIALIZED (
    SELECT leases.id, given.place
    FROM unnest($1::uuid[], $2::int[]) WITH ORDINALITY AS given (id, connection, place)
    JOIN leases ON leases.id = given.id AND leases.connection = coalesce(given.connection, leases.connection)
        AND leases.taken_at IS NULL
    ORDER BY leases.id
    FOR SHARE OF leases
), batch AS MATERIALIZED (
    SELECT nextval('commit_group') AS number, rotor_now() AS now
), standing AS MATERIALIZED (
    SELECT new.run_id, new.id, new.index, new.attempts, new.output, new.elapsed_ms, new.position
    FROM unnest($3::uuid[], $4::int[], $5::text[], $6::int[], $7::int[], $8::bytea[], $9::int[])
         WITH ORDINALITY AS new (run_id, lease, id, index, attempts, output, elapsed_ms, position)
    WHERE (SELECT count(*) FROM held) = cardinality($1)
      AND (SELECT lease_id FROM runs WHERE id = new.run_id AND cancel_requested_at IS NULL) = ($1)[new.lease]
), put AS (
    INSERT INTO steps (run_id, id, index, op, status, attempts, output, started_at, ended_at, settled_group, position)
    SELECT run_id, id, index, 'run', 'completed', attempts, output, batch.now - elapsed_ms * interval '1 millisecond', batch.now,
           batch.number, position
    FROM standing, batch
    ON CONFLICT (run_id, id, index) DO UPDATE
    SET status = excluded.status, attempts = greatest(excluded.attempts, steps.attempts), output = excluded.output,
        error = NULL, ended_at = excluded.ended_at, settled_group = excluded.settled_group, position = excluded.position
    WHERE steps.ended_at IS NULL
    RETURNING run_id
), ended AS (
    UPDATE runs
    SET status = 'completed', lease_id = NULL, output = new.output, ended_at = batch.now, changed_group = batch.number
    FROM unnest($10::uuid[], $11::int[], $12::bytea[]) AS new (id, lease, output), batch
    WHERE runs.id = new.id AND (runs.lease_id = ($1)[new.lease]) IS TRUE AND (SELECT count(*) FROM held) = cardinality($1)
      AND runs.cancel_requested_at IS NULL AND runs.parent_run_id IS NULL
      AND NOT EXISTS (SELECT FROM steps WHERE steps.run_id = new.id AND steps.ended_at IS NULL)
    RETURNING runs.id
)
SELECT number, (SELECT count(*) FROM put) AS written, (SELECT array_agg(id) FROM ended) AS ended
FROM batch
