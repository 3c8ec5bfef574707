-- Pause a function, or let it go on ($3 = false); the first pause of several is kept.
-- Called by store.functions. Index: functions_pkey. Locks: the row, FOR UPDATE: waits for whoever is just starting a run of it, or
-- lets one go on, and holds it FOR KEY SHARE, so that none begins or goes on after the answer.
WITH held AS MATERIALIZED (
    SELECT id FROM functions WHERE workspace_id = $1 AND id = $2 FOR UPDATE
)
UPDATE functions
SET paused_at = CASE WHEN $3::bool THEN coalesce(paused_at, rotor_now()) END
FROM held
WHERE functions.workspace_id = $1 AND functions.id = held.id
RETURNING functions.id
