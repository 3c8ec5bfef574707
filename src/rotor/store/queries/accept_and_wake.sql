-- Intake: what accept_events does, by the same arguments ($1 to $15), for events that start no run and have no time of their own; and
-- runs that they wake at once. $16 are leases of workers that keep bodies, $17 the numbers of their connections; $18 are runs, $19 the
-- place of each one's keeper in $16, $20 the commit that parked it, $21 and $22 its one wait, $23 the place of its event, $24 that
-- event's id, $25 what comes before its time where a workflow sees it. $26 are deliveries that have been looked at and still stand.
-- A run goes on with its keeper under the conditions of put_wakes, where it is parked as it was then, its wait has looked back, its event
-- is new, and no event that came before may still have to be looked at; else it is left as it is. An id of an event that a wait of the
-- run has taken is a unique violation. Primary keys and index deliveries_oldest. Leases, runs and functions are locked as by put_wakes,
-- but what somebody else has is passed over: nobody's event waits for a run.
-- Returns no row where the revision of a workspace has changed, and nothing was written; else what accept_events does, the commit's
-- number, and of each run that goes on how many waits of it have settled, and its losses.
WITH batch AS MATERIALIZED (
    SELECT rotor_now() AS now, nextval('commit_group') AS number
    WHERE NOT EXISTS (
        SELECT FROM unnest($1::bigint[], $2::bigint[]) AS known (workspace_id, revision)
        JOIN workspaces ON workspaces.id = known.workspace_id
        WHERE workspaces.revision <> known.revision)
), placed AS MATERIALIZED (
    SELECT new.*, batch.now,
           -- Not EXISTS: that could be planned as a hash of all events.
           CASE WHEN (SELECT true FROM events WHERE workspace_id = new.workspace_id AND id = new.id) THEN 0
                ELSE nextval('event_order') END AS position
    FROM batch,
         unnest($3::text[]::bigint[], $4::text[], $5::text[], $6::bytea[], $7::timestamptz[], $8::text[])
         WITH ORDINALITY AS new (workspace_id, id, name, data, ts, traceparent, place)
), positions AS MATERIALIZED (
    SELECT array_agg(position ORDER BY place) AS at FROM placed
), accepted AS (
    INSERT INTO events (workspace_id, id, name, data, ts, accepted_at, effective_at, position, traceparent)
    SELECT workspace_id, id, name, data, now, now, now, position, traceparent
    FROM placed
    WHERE position > 0
), indexed AS (
    INSERT INTO event_values (workspace_id, name, match_hash, effective_at, position, event_id)
    SELECT held.workspace_id, held.name, held.match_hash, batch.now, positions.at[held.place], held.event_id
    FROM unnest($9::text[]::bigint[], $10::text[], $11::bigint[], $12::text[], $13::int[])
         AS held (workspace_id, name, match_hash, event_id, place),
         positions, batch
    WHERE positions.at[held.place] > 0
    ON CONFLICT DO NOTHING
), delivered AS (
    INSERT INTO deliveries (due_at, deferred, since, workspace_ids, event_ids)
    SELECT now + $15::interval, false, now, array_agg(workspace_id ORDER BY place), array_agg(id ORDER BY place)
    FROM placed
    WHERE position > 0
    GROUP BY width_bucket(place, $14::bigint[]), now
    ORDER BY width_bucket(place, $14::bigint[])
    RETURNING id
), parked AS MATERIALIZED (
    SELECT runs.id, new.step_id, new.step_index, new.event_id, new.head, new.position, batch.now, batch.number
    FROM batch, positions,
         unnest(string_to_array($18, ',')::uuid[], string_to_array($19, ',')::int[], string_to_array($20, ',')::bigint[], $21::text[],
                string_to_array($22, ',')::int[], string_to_array($23, ',')::int[], $24::text[], $25::bytea[])
         WITH ORDINALITY AS new (run_id, keeper, parked_group, step_id, step_index, place, event_id, head, position)
    JOIN runs ON runs.id = new.run_id AND runs.status = 'waiting' AND runs.kept_group = new.parked_group
        AND runs.cancel_requested_at IS NULL
    JOIN leases ON leases.id = runs.kept_by AND leases.id = ($16::uuid[])[new.keeper] AND leases.connection = ($17::int[])[new.keeper]
        AND leases.taken_at IS NULL AND leases.expires_at > rotor_now()
    JOIN functions ON functions.workspace_id = runs.workspace_id AND functions.id = runs.function_id
        AND functions.paused_at IS NULL AND functions.serve_url IS NULL
    WHERE positions.at[new.place] > 0
      AND (SELECT true FROM deliveries WHERE since IS NOT NULL AND id <> ALL ($26::bigint[]) LIMIT 1) IS NULL
    FOR SHARE OF leases SKIP LOCKED FOR NO KEY UPDATE OF runs SKIP LOCKED FOR KEY SHARE OF functions SKIP LOCKED
), dropped AS (
    DELETE FROM waits
    USING parked
    WHERE waits.run_id = parked.id AND waits.step_id = parked.step_id AND waits.step_index = parked.step_index
      AND NOT waits.unlooked AND waits.since <= now
    RETURNING parked.*
), put AS (
    UPDATE steps
    SET status = 'completed', event_id = dropped.event_id, ended_at = now, settled_group = number, position = dropped.position,
        output = head || convert_to(
            replace(to_char(now AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'), '.000000', '') || 'Z"}', 'UTF8')
    FROM dropped
    WHERE steps.run_id = dropped.id AND steps.id = dropped.step_id AND steps.index = dropped.step_index
), awake AS (
    UPDATE runs
    SET status = 'running', lease_id = runs.kept_by, kept_by = NULL, settled = runs.settled + 1, changed_group = number
    FROM dropped
    WHERE runs.id = dropped.id
    RETURNING runs.id, runs.settled, runs.losses
)
SELECT false AS stale, now, number, positions.at AS positions, ARRAY(SELECT id FROM delivered ORDER BY id) AS deliveries,
       '{}'::text[] AS started, ARRAY(SELECT ROW(id, settled::int, losses::int) FROM awake) AS woken
FROM batch, positions
