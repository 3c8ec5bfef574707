-- The scheduler: crons whose time has come, held to the commit, so that two servers fire each once. Index triggers_due.
SELECT triggers.workspace_id, triggers.function_id, triggers.position, triggers.cron, triggers.timezone, triggers.next_at,
       functions.paused_at IS NOT NULL AS paused, rotor_now() AS now
FROM triggers
JOIN functions ON functions.workspace_id = triggers.workspace_id AND functions.id = triggers.function_id
WHERE triggers.cron IS NOT NULL AND triggers.next_at <= rotor_now()
ORDER BY triggers.next_at
LIMIT $1
FOR UPDATE OF triggers SKIP LOCKED
