-- The pruner: up to $1 signals whose data nobody took in time, and delivered ones. Index signals_expiry.
WITH old AS (
    SELECT workspace_id, id FROM signals WHERE expires_at <= rotor_now() ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED
), deleted AS (
    DELETE FROM signals USING old WHERE signals.workspace_id = old.workspace_id AND signals.id = old.id RETURNING 1
)
SELECT count(*) FROM deleted
