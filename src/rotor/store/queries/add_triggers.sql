-- Write the triggers of functions that are new or have changed.
-- Called by store.functions under the lock of the workspace's row. Locks: the new rows.
INSERT INTO triggers (workspace_id, function_id, position, event_name, match, cron, timezone, next_at)
SELECT $1, function_id, position, event_name, match, cron, timezone, next_at
FROM unnest($2::text[], $3::int[], $4::text[], $5::text[], $6::text[], $7::text[], $8::timestamptz[])
     AS given (function_id, position, event_name, match, cron, timezone, next_at)
