-- The dispatcher, for the holder with lease $2: up to $4 due runs of functions $3 of workspace $1, oldest first for each, the
-- functions in their order. Index runs_due; SKIP LOCKED, so that claimers never wait for each other nor take the same run.
-- A run is claimed only while its function is neither paused (who pauses it waits for the claim, or the claim for the pause) nor
-- served over HTTP, nobody has asked for its cancellation, and
-- the lease holds and $5 is still its holder's connection. A holder that comes back elsewhere waits for that lock, and then
-- sees what was claimed for its old connection. A run notes the version of its holder's code where that is another one ($6: how
-- many at most).
WITH held AS MATERIALIZED (
    SELECT id, version FROM leases WHERE id = $2 AND connection = $5 AND expires_at > rotor_now() AND taken_at IS NULL FOR SHARE
), wanted AS MATERIALIZED (
    SELECT functions.id AS function_id
    FROM unnest($3::text[]) WITH ORDINALITY AS given (id, place)
    JOIN functions ON functions.workspace_id = $1 AND functions.id = given.id
    WHERE paused_at IS NULL AND serve_url IS NULL
      AND EXISTS (SELECT FROM held)
    ORDER BY given.place
    FOR KEY SHARE OF functions
), due AS (
    SELECT queued.id, queued.kept_by, queued.kept_group, queued.started_at
    FROM wanted, LATERAL (
        SELECT id, kept_by, kept_group, started_at FROM runs
        WHERE workspace_id = $1 AND runs.function_id = wanted.function_id AND status = 'queued' AND due_at <= rotor_now()
          AND cancel_requested_at IS NULL
        ORDER BY due_at
        LIMIT $4
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS queued
    LIMIT $4
), batch AS MATERIALIZED (
    SELECT nextval('commit_group') AS number
), claimed AS (
    UPDATE runs
    SET status = 'running', lease_id = $2, due_at = NULL, started_at = coalesce(runs.started_at, rotor_now()),
        kept_by = NULL,
        versions = CASE WHEN held.version = coalesce(runs.versions[cardinality(runs.versions)], '') THEN runs.versions
            ELSE (runs.versions || held.version)[greatest(cardinality(runs.versions) + 2 - $6::int, 1):] END,
        versions_since = CASE WHEN held.version = coalesce(runs.versions[cardinality(runs.versions)], '') THEN runs.versions_since
            ELSE (runs.versions_since || rotor_now())[greatest(cardinality(runs.versions) + 2 - $6::int, 1):] END,
        changed_group = batch.number
    FROM due, batch, held
    WHERE runs.id = due.id
    RETURNING runs.*, due.kept_by AS was_kept_by, due.started_at IS NULL AS fresh
)
SELECT claimed.id, claimed.function_id, claimed.attempt, claimed.settled, claimed.losses, claimed.was_kept_by, claimed.kept_group,
       claimed.fresh, events.id AS event_id, events.name AS event_name, events.data AS event_data, events.ts AS event_ts,
       events.traceparent
FROM claimed
JOIN events ON events.workspace_id = claimed.workspace_id AND events.id = claimed.event_id
