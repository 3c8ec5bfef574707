-- Replays: what starts the run anew, and whether its function is still registered. Primary key look-ups. Holds the row, so that
-- neither it nor, because of it, its event is pruned meanwhile; and the function's, so that who deletes it sees the new run.
WITH replayed AS MATERIALIZED (
    SELECT function_id, event_id FROM runs WHERE workspace_id = $1 AND id = $2 FOR KEY SHARE
), registered AS MATERIALIZED (
    SELECT functions.id FROM replayed JOIN functions ON functions.workspace_id = $1 AND functions.id = replayed.function_id
    FOR KEY SHARE OF functions
)
SELECT replayed.function_id, replayed.event_id, EXISTS (SELECT FROM registered) AS registered FROM replayed
