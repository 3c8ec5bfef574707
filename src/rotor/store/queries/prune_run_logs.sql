-- The pruner: up to $2 lines of logs older than $1, whatever became of their runs. Index run_logs_age.
WITH old AS (
    SELECT run_id, position FROM run_logs WHERE at < rotor_now() - $1::interval LIMIT $2 FOR UPDATE SKIP LOCKED
), deleted AS (
    DELETE FROM run_logs USING old WHERE run_logs.run_id = old.run_id AND run_logs.position = old.position RETURNING 1
)
SELECT count(*) FROM deleted
