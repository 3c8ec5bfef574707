-- Replays: what starts the run anew. Primary key, no locks.
SELECT function_id, event_id FROM runs WHERE workspace_id = $1 AND id = $2
