-- Intake and the committer: accept_events for a single event without a time of its own, which is what a batch comes to where little goes
-- on. $1 is its workspace, whose revision is $2 still; $3 to $6 are the event, $7 the hashes of its values. $8 is for how long the
-- look-out is this server's own. $9 are the runs that it starts, $10 their functions; $11 are leases of workers, $12 the numbers of their
-- connections, and $13 the place of each run's own in these. Nothing is set up for lists of events: two thirds of accept_events. It
-- checks and locks the same.
-- Returns what accept_events does; no row where it has to go that way: something has changed, or the workspace has had the id.
WITH serving AS MATERIALIZED (
    SELECT id, paused_at IS NULL AND serve_url IS NULL AS by_workers
    FROM functions
    WHERE workspace_id = $1 AND id = ANY ($10::text[])
    ORDER BY id
    FOR KEY SHARE
), event AS (
    INSERT INTO events (workspace_id, id, name, data, ts, accepted_at, effective_at, position, traceparent)
    SELECT $1, $3::text, $4::text, $5, clock.now, clock.now, clock.now, nextval('event_order'), $6
    FROM workspaces, (SELECT rotor_now() AS now OFFSET 0) AS clock
    WHERE id = $1 AND revision = $2
      AND (SELECT count(*) FROM serving) = cardinality($10)
      AND (SELECT true FROM events WHERE workspace_id = $1 AND id = $3) IS NULL
    RETURNING effective_at AS now, position, nextval('commit_group') AS number
), begun AS (
    INSERT INTO runs (id, workspace_id, function_id, event_id, status, due_at, lease_id, started_at, versions, versions_since,
                      changed_group, created_at)
    SELECT id, $1, function_id, $3::text,
           CASE WHEN version IS NULL THEN 'queued' ELSE 'running' END, CASE WHEN version IS NULL THEN now END,
           CASE WHEN version IS NOT NULL THEN ($11)[holder] END, CASE WHEN version IS NOT NULL THEN now END,
           CASE WHEN version <> '' THEN ARRAY[version] ELSE '{}' END, CASE WHEN version <> '' THEN ARRAY[now] ELSE '{}' END,
           number, now
    FROM (
        -- The version of its holder's code; NULL: it is queued.
        SELECT new.*, event.now, event.number, CASE WHEN new.holder > 0 THEN (
                   SELECT leases.version FROM leases
                   WHERE leases.id = ($11::uuid[])[new.holder] AND leases.connection = ($12::int[])[new.holder]
                     AND leases.workspace_id = $1 AND leases.expires_at > rotor_now() AND leases.taken_at IS NULL
                     AND (SELECT by_workers FROM serving WHERE serving.id = new.function_id)
                   FOR SHARE SKIP LOCKED) END AS version
        FROM event, unnest($9::uuid[], $10::text[], $13::int[]) AS new (id, function_id, holder)
        OFFSET 0
    ) AS due
    RETURNING id, lease_id
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
)
SELECT false AS stale, now, ARRAY[position] AS positions, ARRAY(SELECT id FROM delivered) AS deliveries,
       ARRAY(SELECT id::text FROM begun WHERE lease_id IS NOT NULL) AS started
FROM event
