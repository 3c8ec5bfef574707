-- Pause a function, or let it go on ($3 = false); the first pause of several is kept.
-- Called by store.functions. Index: functions_pkey. Locks: the row.
UPDATE functions
SET paused_at = CASE WHEN $3::bool THEN coalesce(paused_at, rotor_now()) END
WHERE workspace_id = $1 AND id = $2
RETURNING id
