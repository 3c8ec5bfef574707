-- One page of a workspace's functions by id, with their triggers in order; $2 is the id before the page, $3 its size.
-- Called by store.functions for people. Index: functions_pkey, triggers_pkey. Locks: none.
SELECT functions.id, serve_url, app, version, retries, paused_at, created_at, updated_at,
       array(SELECT (position, event_name, match, cron, timezone, next_at)
             FROM triggers
             WHERE triggers.workspace_id = functions.workspace_id AND function_id = functions.id
             ORDER BY position) AS triggers
FROM functions
WHERE workspace_id = $1 AND id > $2
ORDER BY id
LIMIT $3
