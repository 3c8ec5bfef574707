-- The functions of a workspace with these ids ($2), with their triggers in order.
-- Called by store.functions to show one, and under the lock of the workspace's row before they are changed.
-- Index: functions_pkey, triggers_pkey. Locks: none.
SELECT functions.id, serve_url, app, version, retries, paused_at, created_at, updated_at,
       array(SELECT (position, event_name, match, cron, timezone, next_at)
             FROM triggers
             WHERE triggers.workspace_id = functions.workspace_id AND function_id = functions.id
             ORDER BY position) AS triggers
FROM functions
WHERE workspace_id = $1 AND id = ANY($2::text[])
