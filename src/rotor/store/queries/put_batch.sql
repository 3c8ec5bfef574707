-- The committer: all rows of steps, waits and runs that a batch comes to, under the runs' locks. Primary key look-ups and upserts.
-- $1 to $14 are steps: one that has ended is left as it is. $15 to $17 are waits that are over, unless they begin again.
-- $18 to $29 are steps that park: an event's wait owes the look back at what came before it. $30 to $40 are runs as they are to be.
-- What ends, ends as this statement begins, under the locks; all else is of the transaction's beginning, as its events and new runs are.
-- Returns the number of the commit, when what ended did, how many steps it wrote, and how many seconds away the nearest new deadline is.
WITH batch AS MATERIALIZED (
    SELECT nextval('commit_group') AS number, rotor_now() AS now, rotor_statement_now() AS ended_at
), put AS (
    INSERT INTO steps (run_id, id, index, op, status, attempts, output, error, child_run_id, event_id, waits_for,
                       deadline, started_at, ended_at, settled_group, position)
    SELECT new.run_id, new.id, new.index, new.op, new.status, new.attempts, new.output, new.error, new.child_run_id,
           new.event_id, new.waits_for,
           coalesce(new.until, batch.now + new.seconds * interval '1 second'),
           least(batch.now, batch.ended_at - new.elapsed_ms * interval '1 millisecond'),
           CASE WHEN new.status IN ('completed', 'failed', 'cancelled', 'timed_out') THEN batch.ended_at END,
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
), dropped AS (
    DELETE FROM waits
    USING unnest($15::uuid[], $16::text[], $17::int[]) AS gone (run_id, step_id, step_index)
    WHERE waits.run_id = gone.run_id AND waits.step_id = gone.step_id AND waits.step_index = gone.step_index
), parked AS (
    INSERT INTO waits (run_id, step_id, step_index, workspace_id, deadline, topic, path, match_hash, equals, expression, since, unlooked)
    SELECT new.run_id, new.step_id, new.step_index, new.workspace_id,
           coalesce(new.until, batch.now + new.seconds * interval '1 second'),
           new.topic, new.path, new.match_hash, new.equals, new.expression,
           CASE WHEN new.match_hash IS NOT NULL THEN coalesce(new.since, batch.now) END,
           new.match_hash IS NOT NULL
    FROM unnest($18::uuid[], $19::text[], $20::int[], $21::bigint[], $22::float8[], $23::timestamptz[], $24::text[], $25::text[],
                $26::bigint[], $27::bytea[], $28::bytea[], $29::timestamptz[])
         AS new (run_id, step_id, step_index, workspace_id, seconds, until, topic, path, match_hash, equals, expression, since),
         batch
    ON CONFLICT (run_id, step_id, step_index) DO UPDATE
    SET deadline = excluded.deadline, topic = excluded.topic, path = excluded.path, match_hash = excluded.match_hash,
        equals = excluded.equals, expression = excluded.expression, since = excluded.since, unlooked = excluded.unlooked
    RETURNING deadline
), changed AS (
    UPDATE runs
    SET status = new.status, lease_id = new.lease_id, attempt = new.attempt, settled = new.settled, losses = new.losses,
        due_at = CASE WHEN new.status = 'queued'
            THEN coalesce(batch.now + new.due_seconds * interval '1 second', runs.due_at) END,
        output = new.output, error = new.error,
        kept_by = CASE WHEN new.status = 'waiting' THEN new.kept_by
                       WHEN new.status = 'queued' AND runs.status <> 'running' THEN runs.kept_by END,
        kept_group = CASE WHEN new.status = 'waiting' AND runs.status = 'running' AND new.kept_by IS NOT NULL THEN batch.number
                          ELSE runs.kept_group END,
        cancel_requested_at = CASE WHEN new.cancelling THEN coalesce(runs.cancel_requested_at, batch.now) END,
        ended_at = CASE WHEN new.status IN ('completed', 'failed', 'cancelled') THEN batch.ended_at END,
        changed_group = batch.number
    FROM unnest($30::uuid[], $31::text[], $32::uuid[], $33::int[], $34::int[], $35::int[], $36::float8[], $37::bytea[], $38::bytea[],
                $39::uuid[], $40::boolean[])
         AS new (id, status, lease_id, attempt, settled, losses, due_seconds, output, error, kept_by, cancelling),
         batch
    WHERE runs.id = new.id
)
SELECT number, ended_at, (SELECT count(*) FROM put) AS written,
       (SELECT extract(epoch FROM min(deadline) - batch.now)::float8 FROM parked) AS deadline_seconds
FROM batch
