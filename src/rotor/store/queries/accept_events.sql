-- Intake and the committer: events ($3 to $8), their values at the paths that waits use ($9 to $13) and the runs that they start
-- ($16 to $20), each with the place of its event, and the look-out for their waiters: the places at which its batches
-- begin ($14), and for how long they are this server's own ($15). An event whose id the workspace has already had changes nothing,
-- nor does what is of its place; one of the future stays deferred, and so do they.
-- What is to be started and indexed was found out at these revisions ($2) of these workspaces ($1): where one has changed since,
-- nothing at all is written. An id that another transaction is just writing fails the statement.
-- The functions of the runs, each once ($21 and $22), are held FOR KEY SHARE to the commit: who deletes one waits, and then sees the
-- runs that it has to cancel.
-- A run may start with a worker at once: $23 are leases, $24 the numbers of their connections, and $25 the place of its own in them for
-- each run, 0: none. It does where that lease lasts and that is its connection still, and the function is neither paused nor served
-- over HTTP; else it is queued. Leases are held FOR SHARE to the commit, as by a claim; one that is just being changed is passed
-- over, so that nobody who has locked others waits here for a lease. Returns which runs have started.
WITH serving AS MATERIALIZED (
    SELECT functions.workspace_id, functions.id, paused_at IS NULL AND serve_url IS NULL AS by_workers
    FROM unnest($21::text[]::bigint[], $22::text[]) AS wanted (workspace_id, id)
    JOIN functions USING (workspace_id, id)
    ORDER BY functions.workspace_id, functions.id
    FOR KEY SHARE OF functions
), stale AS MATERIALIZED (
    SELECT FROM unnest($1::bigint[], $2::bigint[]) AS known (workspace_id, revision)
    JOIN workspaces ON workspaces.id = known.workspace_id
    WHERE workspaces.revision <> known.revision
    UNION ALL
    SELECT WHERE (SELECT count(*) FROM serving) < cardinality($22)
), clock AS MATERIALIZED (
    SELECT rotor_now() AS now, nextval('commit_group') AS number
), placed AS MATERIALIZED (
    SELECT new.*, clock.now,
           -- Not EXISTS: that could be planned as a hash of all events.
           CASE WHEN (SELECT true FROM events WHERE workspace_id = new.workspace_id AND id = new.id) THEN 0
                WHEN new.ts > clock.now THEN -1
                ELSE nextval('event_order') END AS position
    FROM unnest($3::text[]::bigint[], $4::text[], $5::text[], $6::bytea[], $7::timestamptz[], $8::text[])
         WITH ORDINALITY AS new (workspace_id, id, name, data, ts, traceparent, place),
         clock
    WHERE NOT EXISTS (SELECT FROM stale)
), positions AS MATERIALIZED (
    SELECT array_agg(position ORDER BY place) AS at FROM placed
), accepted AS (
    INSERT INTO events (workspace_id, id, name, data, ts, accepted_at, effective_at, position, traceparent)
    SELECT workspace_id, id, name, data, coalesce(ts, now), now,
           CASE WHEN position > 0 THEN now END, nullif(position, -1), traceparent
    FROM placed
    WHERE position <> 0
), held AS MATERIALIZED (
    SELECT given.place, leases.workspace_id, leases.version
    FROM unnest($23::uuid[], $24::int[]) WITH ORDINALITY AS given (id, connection, place)
    JOIN leases ON leases.id = given.id AND leases.connection = given.connection
    WHERE expires_at > rotor_now() AND taken_at IS NULL
    FOR SHARE OF leases SKIP LOCKED
), due AS MATERIALIZED (
    -- The version of its holder's code; NULL: it is queued.
    SELECT new.*, CASE WHEN new.holder > 0 THEN (
               SELECT held.version FROM held
               JOIN serving ON serving.workspace_id = held.workspace_id AND serving.by_workers
               WHERE held.place = new.holder AND serving.workspace_id = new.workspace_id AND serving.id = new.function_id) END AS version
    FROM unnest($16::uuid[], $17::text[]::bigint[], $18::text[], $19::text[], $20::int[], $25::int[])
         AS new (id, workspace_id, function_id, event_id, place, holder),
         positions
    WHERE positions.at[new.place] > 0
), begun AS (
    INSERT INTO runs (id, workspace_id, function_id, event_id, status, due_at, lease_id, started_at, versions, versions_since,
                      changed_group, created_at)
    SELECT due.id, due.workspace_id, due.function_id, due.event_id,
           CASE WHEN version IS NULL THEN 'queued' ELSE 'running' END, CASE WHEN version IS NULL THEN now END,
           CASE WHEN version IS NOT NULL THEN ($23)[due.holder] END, CASE WHEN version IS NOT NULL THEN now END,
           CASE WHEN version <> '' THEN ARRAY[version] ELSE '{}' END, CASE WHEN version <> '' THEN ARRAY[now] ELSE '{}' END,
           clock.number, now
    FROM due, clock
    RETURNING id, lease_id
), indexed AS (
    INSERT INTO event_values (workspace_id, name, match_hash, effective_at, position, event_id)
    SELECT held.workspace_id, held.name, held.match_hash, clock.now, positions.at[held.place], held.event_id
    FROM unnest($9::text[]::bigint[], $10::text[], $11::bigint[], $12::text[], $13::int[])
         AS held (workspace_id, name, match_hash, event_id, place),
         positions, clock
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
), deferred AS (
    INSERT INTO deliveries (due_at, deferred, workspace_ids, event_ids)
    SELECT ts, true, ARRAY[workspace_id], ARRAY[id] FROM placed WHERE position = -1
)
SELECT EXISTS (SELECT FROM stale) AS stale, clock.now, positions.at AS positions,
       ARRAY(SELECT id FROM delivered ORDER BY id) AS deliveries,
       ARRAY(SELECT id::text FROM begun WHERE lease_id IS NOT NULL) AS started
FROM clock, positions
