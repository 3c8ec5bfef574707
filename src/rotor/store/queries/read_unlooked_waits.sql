-- The matcher: waits that owe their look back at what came before them. Index waits_unlooked, no locks.
SELECT run_id, step_id, step_index FROM waits WHERE unlooked LIMIT $1
