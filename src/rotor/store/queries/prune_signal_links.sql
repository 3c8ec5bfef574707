-- The pruner: up to $1 used links that have expired, so that they are refused for that. Index used_signal_links_expiry.
WITH old AS (
    SELECT workspace_id, mac FROM used_signal_links WHERE expires_at <= rotor_now() ORDER BY expires_at LIMIT $1
    FOR UPDATE SKIP LOCKED
), deleted AS (
    DELETE FROM used_signal_links USING old
    WHERE used_signal_links.workspace_id = old.workspace_id AND used_signal_links.mac = old.mac
    RETURNING 1
)
SELECT count(*) FROM deleted
