-- The committer: what ended runs leave open, under their locks: their waits go, the steps that waited or ran are cancelled,
-- the signal ids they waited for are free, with data that has come kept for $2. $3 is when the runs ended. Scans the runs' steps by
-- primary key.
WITH parked AS (
    DELETE FROM waits WHERE run_id = ANY ($1::uuid[])
), awaited AS (
    SELECT workspace_id, id, data IS NULL AS empty
    FROM signals
    WHERE run_id = ANY ($1::uuid[]) AND delivered_at IS NULL
    FOR UPDATE
), freed AS (
    DELETE FROM signals USING awaited
    WHERE signals.workspace_id = awaited.workspace_id AND signals.id = awaited.id AND awaited.empty
), kept AS (
    UPDATE signals
    SET run_id = NULL, step_id = NULL, step_index = NULL, expires_at = rotor_now() + $2::interval
    FROM awaited
    WHERE signals.workspace_id = awaited.workspace_id AND signals.id = awaited.id AND NOT awaited.empty
)
UPDATE steps
SET status = 'cancelled', ended_at = $3, settled_group = nextval('commit_group')
WHERE run_id = ANY ($1::uuid[]) AND ended_at IS NULL
