-- Signals: keep the data of a completion, unless the id has been completed already ($4: how long it is kept where nobody waits).
-- One row by primary key: a wait that registers meanwhile writes the same row and so finds it, or is found.
INSERT INTO signals AS signal (workspace_id, id, data, completed_at, expires_at)
VALUES ($1, $2::text, $3, rotor_now(), rotor_now() + $4::interval)
ON CONFLICT (workspace_id, id) DO UPDATE
SET data = excluded.data, completed_at = excluded.completed_at, delivered_at = NULL,
    expires_at = CASE WHEN signal.run_id IS NOT NULL AND signal.delivered_at IS NULL THEN NULL ELSE excluded.expires_at END,
    run_id = CASE WHEN signal.delivered_at IS NULL THEN signal.run_id END,
    step_id = CASE WHEN signal.delivered_at IS NULL THEN signal.step_id END,
    step_index = CASE WHEN signal.delivered_at IS NULL THEN signal.step_index END
WHERE signal.data IS NULL OR signal.expires_at <= rotor_now()
RETURNING run_id, step_id, step_index
