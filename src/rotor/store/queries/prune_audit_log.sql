-- The pruner: up to $2 entries of the audit log older than $1. Index audit_log_age.
WITH old AS (
    SELECT workspace_id, at, id FROM audit_log WHERE at < rotor_now() - $1::interval LIMIT $2 FOR UPDATE SKIP LOCKED
), deleted AS (
    DELETE FROM audit_log USING old
    WHERE audit_log.workspace_id = old.workspace_id AND audit_log.at = old.at AND audit_log.id = old.id
    RETURNING 1
)
SELECT count(*) FROM deleted
