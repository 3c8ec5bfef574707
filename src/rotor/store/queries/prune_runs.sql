-- The pruner: up to $2 ended runs older than $1, with their steps and logs. Kept are those whose parent is still open, and those in
-- use by another transaction. Index runs_ended.
WITH old AS (
    SELECT id FROM runs
    WHERE ended_at < rotor_now() - $1::interval
      AND NOT EXISTS (SELECT FROM runs AS parent WHERE parent.id = runs.parent_run_id AND parent.ended_at IS NULL)
    ORDER BY ended_at
    LIMIT $2
    FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM steps USING old WHERE steps.run_id = old.id
), gone_logs AS (
    DELETE FROM run_logs USING old WHERE run_logs.run_id = old.id
), deleted AS (
    DELETE FROM runs USING old WHERE runs.id = old.id RETURNING 1
)
SELECT count(*) FROM deleted
