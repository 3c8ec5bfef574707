-- The committer: runs of which each waits for an event that has come, and whose bodies workers here keep. $1 are the leases of these,
-- $2 the numbers of their connections; $3 are runs, $4 the place of each one's keeper in $1, $5 and $6 its step, $7 the event, $8 that
-- as its workflow sees it. A run goes on with its keeper where that lease lasts and that is its connection still, the function is
-- neither paused nor served over HTTP, it still waits and nobody has asked for its cancellation; else it is left as it is. An event
-- that another wait of the run has taken is a unique violation. Primary keys. The leases are held FOR SHARE to the commit, and then
-- the runs FOR NO KEY UPDATE, each in the order of ids, as by lock_runs: who has a run's row decides alone about its waits. So are
-- the functions, FOR KEY SHARE, against a pause.
-- Returns the commit's number, and of each run that goes on how many waits of it have settled, how many it has left, and its losses.
WITH held AS MATERIALIZED (
    SELECT leases.id
    FROM unnest($1::uuid[], $2::int[]) AS given (id, connection)
    JOIN leases ON leases.id = given.id AND leases.connection = given.connection
        AND leases.taken_at IS NULL AND leases.expires_at > rotor_now()
    ORDER BY leases.id
    FOR SHARE OF leases
), batch AS MATERIALIZED (
    SELECT nextval('commit_group') AS number, rotor_now() AS now
    WHERE (SELECT count(*) FROM held) > 0
), locked AS MATERIALIZED (
    SELECT runs.id, new.step_id, new.step_index, new.event_id, new.output, new.position
    FROM batch,
         unnest(string_to_array($3, ',')::uuid[], string_to_array($4, ',')::int[], $5::text[], string_to_array($6, ',')::int[],
                $7::text[], $8::bytea[])
         WITH ORDINALITY AS new (run_id, keeper, step_id, step_index, event_id, output, position)
    JOIN runs ON runs.id = new.run_id AND runs.status = 'waiting' AND runs.cancel_requested_at IS NULL
        AND (runs.kept_by = ($1)[new.keeper]) IS TRUE
    WHERE ($1)[new.keeper] IN (SELECT id FROM held)
      AND (SELECT paused_at IS NULL AND serve_url IS NULL FROM functions
           WHERE functions.workspace_id = runs.workspace_id AND functions.id = runs.function_id
           FOR KEY SHARE OF functions)
    ORDER BY runs.id
    FOR NO KEY UPDATE OF runs
), dropped AS (
    DELETE FROM waits
    USING locked
    WHERE waits.run_id = locked.id AND waits.step_id = locked.step_id AND waits.step_index = locked.step_index
    RETURNING locked.*
), put AS (
    UPDATE steps
    SET status = 'completed', output = dropped.output, event_id = dropped.event_id, ended_at = batch.now,
        settled_group = batch.number, position = dropped.position
    FROM dropped, batch
    WHERE steps.run_id = dropped.id AND steps.id = dropped.step_id AND steps.index = dropped.step_index
), awake AS (
    UPDATE runs
    SET status = 'running', lease_id = runs.kept_by, kept_by = NULL, settled = runs.settled + 1, changed_group = batch.number
    FROM dropped, batch
    WHERE runs.id = dropped.id
    RETURNING runs.id, runs.settled, runs.losses, (SELECT count(*)::int - 1 FROM waits WHERE waits.run_id = runs.id) AS waits
)
SELECT batch.number, awake.id, awake.settled, awake.losses, awake.waits
FROM batch, awake
