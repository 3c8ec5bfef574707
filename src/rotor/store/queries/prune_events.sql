-- The pruner: up to $2 events that took effect more than $1 ago and that no run was started by, with their indexed values.
-- Kept are those that a wait still owes its look back at. Index events_age: none took effect before it was accepted.
WITH old AS (
    SELECT workspace_id, id, name, position FROM events
    WHERE accepted_at < rotor_now() - $1::interval AND effective_at < rotor_now() - $1::interval
      AND NOT EXISTS (SELECT FROM runs WHERE runs.workspace_id = events.workspace_id AND runs.event_id = events.id)
      AND NOT EXISTS (
          SELECT FROM waits
          WHERE waits.workspace_id = events.workspace_id AND waits.topic = 'event:' || events.name
            AND waits.unlooked AND waits.since <= events.effective_at)
    ORDER BY accepted_at
    LIMIT $2
    FOR UPDATE SKIP LOCKED
), valued AS (
    DELETE FROM event_values USING old
    WHERE event_values.workspace_id = old.workspace_id AND event_values.name = old.name AND event_values.position = old.position
), deleted AS (
    DELETE FROM events USING old WHERE events.workspace_id = old.workspace_id AND events.id = old.id RETURNING 1
)
SELECT count(*) FROM deleted
