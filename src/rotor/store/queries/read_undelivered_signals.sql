-- The rescuer: signals that were completed while a step waits, and not yet delivered, older than a moment: the server that
-- accepted them died before it could. Index signals_undelivered.
SELECT run_id, step_id, step_index, id
FROM signals
WHERE completed_at <= rotor_now() - interval '1 second' AND run_id IS NOT NULL AND delivered_at IS NULL
LIMIT $1
