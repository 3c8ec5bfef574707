-- The committer: the rows of a batch's steps, under the runs' locks. Primary key upserts; a step that has ended is left
-- as it is. Returns the number of the commit, and how many rows it wrote.
WITH batch AS MATERIALIZED (
    SELECT nextval('commit_group') AS number
), put AS (
    INSERT INTO steps (run_id, id, index, op, status, attempts, output, error, child_run_id, event_id, waits_for,
                       deadline, started_at, ended_at, settled_group, position)
    SELECT new.run_id, new.id, new.index, new.op, new.status, new.attempts, new.output, new.error, new.child_run_id,
           new.event_id, new.waits_for,
           coalesce(new.until, rotor_now() + new.seconds * interval '1 second'),
           rotor_now() - new.elapsed_ms * interval '1 millisecond',
           CASE WHEN new.status IN ('completed', 'failed', 'cancelled', 'timed_out') THEN rotor_now() END,
           batch.number, new.position
    FROM unnest($1::uuid[], $2::text[], $3::int[], $4::text[], $5::text[], $6::int[], $7::bytea[], $8::bytea[], $9::uuid[],
                $10::text[], $11::text[], $12::float8[], $13::timestamptz[], $14::int[])
         WITH ORDINALITY AS new (run_id, id, index, op, status, attempts, output, error, child_run_id, event_id, waits_for,
                                 seconds, until, elapsed_ms, position),
         batch
    ON CONFLICT (run_id, id, index) DO UPDATE
    SET status = excluded.status, attempts = greatest(excluded.attempts, steps.attempts), output = excluded.output,
        error = coalesce(excluded.error, CASE WHEN excluded.status = 'retrying' THEN steps.error END),
        child_run_id = coalesce(excluded.child_run_id, steps.child_run_id),
        event_id = coalesce(excluded.event_id, steps.event_id), waits_for = coalesce(excluded.waits_for, steps.waits_for),
        deadline = coalesce(excluded.deadline, steps.deadline), ended_at = excluded.ended_at,
        settled_group = excluded.settled_group, position = excluded.position
    WHERE steps.ended_at IS NULL
    RETURNING run_id
)
SELECT number, (SELECT count(*) FROM put) AS written FROM batch
