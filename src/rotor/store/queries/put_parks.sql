-- The committer: runs that nobody but their worker has anything to do with, and that park on one sleep each; $5 says how many settled
-- waits the worker knows of. They are written where the leases of all these workers stand, with this connection; else nothing is,
-- and no row returned. One whose lease is over, of which more was settled or whose cancellation was asked for, is left as it is.
-- A step that has a row already is a unique violation. Primary keys. The leases are held FOR SHARE to the commit, as by
-- put_progress, and then the runs, each in the order of ids.
-- Returns the commit's number, the runs that it parked, and how many seconds away the nearest of their deadlines is.
WITH held AS MATERIALIZED (
    SELECT leases.id
    FROM unnest($1::uuid[], $2::int[]) AS given (id, connection)
    JOIN leases ON leases.id = given.id AND leases.connection = given.connection AND leases.taken_at IS NULL
    ORDER BY leases.id
    FOR SHARE OF leases
), batch AS MATERIALIZED (
    SELECT nextval('commit_group') AS number, rotor_now() AS now
    WHERE (SELECT count(*) FROM held) = cardinality($1)
), parked AS (
    UPDATE runs
    SET status = 'waiting', lease_id = NULL, changed_group = batch.number,
        kept_by = CASE WHEN new.kept THEN runs.lease_id END,
        kept_group = CASE WHEN new.kept THEN batch.number ELSE runs.kept_group END
    FROM batch,
         unnest(string_to_array($3, ',')::uuid[], string_to_array($4, ',')::int[], string_to_array($5, ',')::int[],
                string_to_array($6, ',')::boolean[], $7::text[], string_to_array($8, ',')::int[], $9::float8[], $10::timestamptz[])
         WITH ORDINALITY AS new (id, lease, settled, kept, step_id, step_index, seconds, until, position)
    WHERE runs.id = new.id AND (runs.lease_id = ($1)[new.lease]) IS TRUE -- no index of leases, which hold many runs, serves that
      AND runs.settled = new.settled AND runs.cancel_requested_at IS NULL
    RETURNING runs.id, runs.workspace_id, new.step_id, new.step_index, new.position,
              coalesce(new.until, batch.now + new.seconds * interval '1 second') AS deadline
), put AS (
    INSERT INTO steps (run_id, id, index, op, status, deadline, started_at, settled_group, position)
    SELECT parked.id, step_id, step_index, 'sleep', 'waiting', deadline, batch.now, batch.number, position
    FROM parked, batch
), opened AS (
    INSERT INTO waits (run_id, step_id, step_index, workspace_id, deadline)
    SELECT id, step_id, step_index, workspace_id, deadline
    FROM parked
)
SELECT number, parked.ids AS parked, extract(epoch FROM parked.deadline - now)::float8 AS deadline_seconds
FROM batch, (SELECT array_agg(id) AS ids, min(deadline) AS deadline FROM parked) AS parked
