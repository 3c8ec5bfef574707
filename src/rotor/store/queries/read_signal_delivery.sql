-- Signals: whether a completion has been delivered. Primary key, no locks.
SELECT delivered_at IS NOT NULL FROM signals WHERE workspace_id = $1 AND id = $2
