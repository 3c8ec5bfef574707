-- The pruner: up to $2 ended runs older than $1, with their steps and logs: about $3 of these at a time, or one run's. Kept are those
-- whose parent is still open, and those in use by another transaction. Says how many went, and whether there are more. Index runs_ended.
WITH found AS MATERIALIZED (
    SELECT id, ended_at FROM runs
    WHERE ended_at < rotor_now() - $1::interval
      AND NOT EXISTS (SELECT FROM runs AS parent WHERE parent.id = runs.parent_run_id AND parent.ended_at IS NULL)
    ORDER BY ended_at
    LIMIT $2
    FOR UPDATE SKIP LOCKED
), sized AS (
    SELECT found.id, sum(rows) OVER (ORDER BY ended_at, found.id) - rows AS before
    FROM found, LATERAL (
        SELECT (SELECT count(*) FROM steps WHERE steps.run_id = found.id)
             + (SELECT count(*) FROM run_logs WHERE run_logs.run_id = found.id) AS rows) AS weighed
), old AS MATERIALIZED (
    SELECT id FROM sized WHERE before < $3::bigint
), gone AS (
    DELETE FROM steps USING old WHERE steps.run_id = old.id
), gone_logs AS (
    DELETE FROM run_logs USING old WHERE run_logs.run_id = old.id
), deleted AS (
    DELETE FROM runs USING old WHERE runs.id = old.id RETURNING 1
)
SELECT (SELECT count(*) FROM deleted) AS gone,
       (SELECT count(*) FROM found) = $2 OR (SELECT count(*) FROM found) > (SELECT count(*) FROM old) AS more
