-- The committer: signal ids that nobody waits for any more, under their locks. Data that has come and was not delivered is kept
-- for whoever waits next, for $3.
WITH gone AS (
    SELECT signals.workspace_id, signals.id, signals.data IS NULL AS empty
    FROM signals
    JOIN unnest($1::bigint[], $2::text[]) AS given (workspace_id, id) USING (workspace_id, id)
    WHERE signals.delivered_at IS NULL
    FOR UPDATE OF signals
), deleted AS (
    DELETE FROM signals USING gone WHERE signals.workspace_id = gone.workspace_id AND signals.id = gone.id AND gone.empty
)
UPDATE signals
SET run_id = NULL, step_id = NULL, step_index = NULL, expires_at = rotor_now() + $3::interval
FROM gone
WHERE signals.workspace_id = gone.workspace_id AND signals.id = gone.id AND NOT gone.empty
