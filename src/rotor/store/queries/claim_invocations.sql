-- The dispatcher: up to $1 due runs of functions served over HTTP, each with a lease of its own that lasts $2. The functions
-- come in another order each time, so that none with many due runs keeps the others waiting. None of the workspaces $4, nor of
-- the functions $5 (their workspaces) and $6 (their ids).
-- A run notes the version of the app where that is another one ($3: how many at most).
-- Index runs_due for each served function; SKIP LOCKED. The functions of the runs are held FOR KEY SHARE to the commit, as by claim_runs.
WITH served AS MATERIALIZED (
    SELECT workspace_id, id, serve_url, version FROM functions WHERE serve_url IS NOT NULL AND paused_at IS NULL
      AND workspace_id <> ALL ($4::bigint[])
      AND NOT EXISTS (
          SELECT FROM unnest($5::bigint[], $6::text[]) AS busy (workspace_id, id)
          WHERE busy.workspace_id = functions.workspace_id AND busy.id = functions.id
      )
    ORDER BY random()
), due AS (
    SELECT queued.id, queued.started_at, served.serve_url, served.version, queued.workspace_id, served.id AS function_id
    FROM served, LATERAL (
        SELECT id, workspace_id, started_at FROM runs
        WHERE workspace_id = served.workspace_id AND runs.function_id = served.id AND status = 'queued' AND due_at <= rotor_now()
          AND cancel_requested_at IS NULL
        ORDER BY due_at
        LIMIT $1
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS queued
    LIMIT $1
), begun AS MATERIALIZED (
    SELECT workspace_id, id FROM functions
    WHERE (workspace_id, id) IN (SELECT workspace_id, function_id FROM due) AND paused_at IS NULL
    ORDER BY workspace_id, id
    FOR KEY SHARE
), numbered AS (
    SELECT due.*, gen_random_uuid() AS lease_id
    FROM due
    WHERE (due.workspace_id, due.function_id) IN (SELECT workspace_id, id FROM begun)
), leased AS (
    INSERT INTO leases (id, workspace_id, kind, holder, slots, connection, expires_at)
    SELECT lease_id, workspace_id, 'invocation', serve_url, 1, 0, rotor_now() + $2::interval FROM numbered
), batch AS MATERIALIZED (
    SELECT nextval('commit_group') AS number
), claimed AS (
    UPDATE runs
    SET status = 'running', lease_id = numbered.lease_id, due_at = NULL, started_at = coalesce(runs.started_at, rotor_now()),
        kept_by = NULL,
        versions = CASE WHEN numbered.version = coalesce(runs.versions[cardinality(runs.versions)], '') THEN runs.versions
            ELSE (runs.versions || numbered.version)[greatest(cardinality(runs.versions) + 2 - $3::int, 1):] END,
        versions_since = CASE WHEN numbered.version = coalesce(runs.versions[cardinality(runs.versions)], '') THEN runs.versions_since
            ELSE (runs.versions_since || rotor_now())[greatest(cardinality(runs.versions) + 2 - $3::int, 1):] END,
        changed_group = batch.number
    FROM numbered, batch
    WHERE runs.id = numbered.id
    RETURNING runs.*, numbered.serve_url, numbered.started_at IS NULL AS fresh
)
SELECT claimed.id, claimed.workspace_id, claimed.lease_id, claimed.serve_url, claimed.function_id, claimed.attempt,
       claimed.settled, claimed.losses, claimed.fresh, events.id AS event_id, events.name AS event_name, events.data AS event_data,
       events.ts AS event_ts,
       events.traceparent
FROM claimed
JOIN events ON events.workspace_id = claimed.workspace_id AND events.id = claimed.event_id
