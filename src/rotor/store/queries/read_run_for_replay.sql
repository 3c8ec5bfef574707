-- Replays: what starts the run anew, and whether its function is still registered. Primary key look-ups. Holds the row, so that
-- neither it nor, because of it, its event is pruned meanwhile.
SELECT runs.function_id, runs.event_id, functions.id IS NOT NULL AS registered
FROM runs
LEFT JOIN functions ON functions.workspace_id = runs.workspace_id AND functions.id = runs.function_id
WHERE runs.workspace_id = $1 AND runs.id = $2
FOR KEY SHARE OF runs
