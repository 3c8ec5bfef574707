-- The committer, the matcher and the scheduler: new runs, due at once.
-- A run may start with a worker at once: $10 are leases, $11 the numbers of their connections, and $12 the place of its own in them for
-- each run, 0: none. It does under the conditions of accept_events, and leases are locked and passed over as there; else it is
-- queued. Returns which runs have started. Primary key look-ups.
WITH batch AS MATERIALIZED (
    SELECT nextval('commit_group') AS number, rotor_now() AS now
), held AS MATERIALIZED (
    SELECT given.place, leases.workspace_id, leases.version
    FROM unnest($10::uuid[], $11::int[]) WITH ORDINALITY AS given (id, connection, place)
    JOIN leases ON leases.id = given.id AND leases.connection = given.connection
    WHERE expires_at > rotor_now() AND taken_at IS NULL
    FOR SHARE OF leases SKIP LOCKED
), due AS MATERIALIZED (
    -- The version of its holder's code; NULL: it is queued.
    SELECT new.*, CASE WHEN new.holder > 0 THEN (
               SELECT held.version FROM held
               JOIN functions ON functions.workspace_id = held.workspace_id AND functions.id = new.function_id
               WHERE held.place = new.holder AND held.workspace_id = new.workspace_id
                 AND paused_at IS NULL AND serve_url IS NULL) END AS version
    FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::int[], $6::uuid[], $7::text[], $8::int[], $9::uuid[], $12::int[])
         AS new (id, workspace_id, function_id, event_id, depth, parent_run_id, parent_step_id, parent_step_index, replay_of, holder)
), begun AS (
    INSERT INTO runs (id, workspace_id, function_id, event_id, status, due_at, lease_id, started_at, versions, versions_since,
                      depth, parent_run_id, parent_step_id, parent_step_index, replay_of, changed_group, created_at)
    SELECT due.id, due.workspace_id, due.function_id, due.event_id,
           CASE WHEN version IS NULL THEN 'queued' ELSE 'running' END, CASE WHEN version IS NULL THEN now END,
           CASE WHEN version IS NOT NULL THEN ($10)[due.holder] END, CASE WHEN version IS NOT NULL THEN now END,
           CASE WHEN version <> '' THEN ARRAY[version] ELSE '{}' END, CASE WHEN version <> '' THEN ARRAY[now] ELSE '{}' END,
           due.depth, due.parent_run_id, due.parent_step_id, due.parent_step_index, due.replay_of, batch.number, now
    FROM due, batch
    RETURNING id, lease_id
)
SELECT id::text FROM begun WHERE lease_id IS NOT NULL
