-- The committer: steps that park, under the runs' locks. An event's wait owes the look back at what came before it.
-- Returns how many seconds away the nearest of the new deadlines is.
WITH parked AS (
    INSERT INTO waits (run_id, step_id, step_index, workspace_id, deadline, topic, path, match_hash, equals, expression, since, unlooked)
    SELECT new.run_id, new.step_id, new.step_index, new.workspace_id,
           coalesce(new.until, rotor_now() + new.seconds * interval '1 second'),
           new.topic, new.path, new.match_hash, new.equals, new.expression,
           CASE WHEN new.match_hash IS NOT NULL THEN coalesce(new.since, rotor_now()) END,
           new.match_hash IS NOT NULL
    FROM unnest($1::uuid[], $2::text[], $3::int[], $4::bigint[], $5::float8[], $6::timestamptz[], $7::text[], $8::text[],
                $9::bigint[], $10::bytea[], $11::bytea[], $12::timestamptz[])
         AS new (run_id, step_id, step_index, workspace_id, seconds, until, topic, path, match_hash, equals, expression, since)
    RETURNING deadline
)
SELECT extract(epoch FROM min(deadline) - rotor_now())::float8 FROM parked
