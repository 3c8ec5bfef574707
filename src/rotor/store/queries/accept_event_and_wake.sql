-- Intake: accept_and_wake for a single event that one run is known to wait for, by the same arguments as accept_event ($1 to $8): $9 is
-- the lease of the run's keeper, $10 the number of its connection, $11 the run, $12 the commit that parked it, $13 and $14 its one wait,
-- $15 what comes before the event's time where a workflow sees it, $16 deliveries that have been looked at and still stand. It checks and
-- locks the same.
-- Returns what accept_and_wake does; no row where it has to go another way, as from accept_event.
WITH event AS (
    INSERT INTO events (workspace_id, id, name, data, ts, accepted_at, effective_at, position, traceparent)
    SELECT $1, $3::text, $4::text, $5, clock.now, clock.now, clock.now, nextval('event_order'), $6
    FROM workspaces, (SELECT rotor_now() AS now OFFSET 0) AS clock
    WHERE id = $1 AND revision = $2
      AND (SELECT true FROM events WHERE workspace_id = $1 AND id = $3) IS NULL
    RETURNING effective_at AS now, position, nextval('commit_group') AS number
), indexed AS (
    INSERT INTO event_values (workspace_id, name, match_hash, effective_at, position, event_id)
    SELECT $1, $4::text, match_hash, now, position, $3::text
    FROM event, unnest($7::bigint[]) AS match_hash
    ON CONFLICT DO NOTHING
), delivered AS (
    INSERT INTO deliveries (due_at, deferred, since, workspace_ids, event_ids)
    SELECT now + $8::interval, false, now, ARRAY[$1], ARRAY[$3::text]
    FROM event
    RETURNING id
), parked AS MATERIALIZED (
    SELECT event.now, event.number
    FROM event, runs
    JOIN leases ON leases.id = runs.kept_by AND leases.id = $9 AND leases.connection = $10
        AND leases.taken_at IS NULL AND leases.expires_at > rotor_now()
    JOIN functions ON functions.workspace_id = runs.workspace_id AND functions.id = runs.function_id
        AND functions.paused_at IS NULL AND functions.serve_url IS NULL
    WHERE runs.id = $11 AND (runs.workspace_id = $1) IS TRUE -- no index of all its runs serves that
      AND runs.status = 'waiting' AND runs.kept_group = $12 AND runs.cancel_requested_at IS NULL
      AND (SELECT true FROM deliveries WHERE since IS NOT NULL AND id <> ALL ($16::bigint[]) LIMIT 1) IS NULL
    FOR SHARE OF leases SKIP LOCKED FOR NO KEY UPDATE OF runs SKIP LOCKED FOR KEY SHARE OF functions SKIP LOCKED
), dropped AS (
    DELETE FROM waits
    USING parked
    WHERE waits.run_id = $11 AND waits.step_id = $13 AND waits.step_index = $14
      AND NOT waits.unlooked AND waits.since <= parked.now
    RETURNING parked.now, parked.number
), put AS (
    UPDATE steps
    SET status = 'completed', event_id = $3, ended_at = now, settled_group = number, position = 1,
        output = $15 || convert_to(
            replace(to_char(now AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'), '.000000', '') || 'Z"}', 'UTF8')
    FROM dropped
    WHERE steps.run_id = $11 AND steps.id = $13 AND steps.index = $14
), awake AS (
    UPDATE runs
    SET status = 'running', lease_id = runs.kept_by, kept_by = NULL, settled = runs.settled + 1, changed_group = number
    FROM dropped
    WHERE runs.id = $11
    RETURNING runs.id, runs.settled::int, runs.losses::int
)
SELECT false AS stale, now, number, ARRAY[position] AS positions, ARRAY(SELECT id FROM delivered) AS deliveries,
       '{}'::text[] AS started, ARRAY(SELECT ROW(id, settled, losses) FROM awake) AS woken
FROM event
