-- The committer: what ended runs leave open, under their locks: their waits go, the steps that waited or ran are cancelled,
-- the signal ids they waited for are free. Scans the runs' steps by primary key.
WITH parked AS (
    DELETE FROM waits WHERE run_id = ANY ($1::uuid[])
), awaited AS (
    DELETE FROM signals WHERE run_id = ANY ($1::uuid[]) AND data IS NULL
)
UPDATE steps
SET status = 'cancelled', ended_at = rotor_now(), settled_group = nextval('commit_group')
WHERE run_id = ANY ($1::uuid[]) AND ended_at IS NULL
