-- The committer: steps that wait for a signal id or take data that came early, under the signals' locks.
-- A row that another transaction has just made is left alone and counted out: the committer then decides anew.
WITH put AS (
    INSERT INTO signals (workspace_id, id, run_id, step_id, step_index)
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::uuid[], $4::text[], $5::int[])
    ON CONFLICT DO NOTHING
    RETURNING 1
)
SELECT count(*) FROM put
