-- The committer: the runs of a batch as they are to be, under their locks. Primary key look-ups.
WITH batch AS MATERIALIZED (
    SELECT nextval('commit_group') AS number
)
UPDATE runs
SET status = new.status, lease_id = new.lease_id, attempt = new.attempt, settled = new.settled, losses = new.losses,
    due_at = CASE WHEN new.status = 'queued'
        THEN coalesce(rotor_now() + new.due_seconds * interval '1 second', runs.due_at) END,
    output = new.output, error = new.error,
    kept_by = CASE WHEN new.status = 'waiting' THEN new.kept_by
                   WHEN new.status = 'queued' AND runs.status <> 'running' THEN runs.kept_by END,
    kept_group = CASE WHEN new.status = 'waiting' AND runs.status = 'running' AND new.kept_by IS NOT NULL THEN batch.number ELSE runs.kept_group END,
    cancel_requested_at = CASE WHEN new.cancelling THEN coalesce(runs.cancel_requested_at, rotor_now()) END,
    ended_at = CASE WHEN new.status IN ('completed', 'failed', 'cancelled') THEN rotor_now() END,
    changed_group = batch.number
FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::int[], $5::int[], $6::int[], $7::float8[], $8::bytea[], $9::bytea[],
            $10::uuid[], $11::boolean[])
     AS new (id, status, lease_id, attempt, settled, losses, due_seconds, output, error, kept_by, cancelling),
     batch
WHERE runs.id = new.id
