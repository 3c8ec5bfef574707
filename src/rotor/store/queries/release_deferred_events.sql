-- The matcher: deferred events whose time has come take effect, each once.
UPDATE events
SET effective_at = rotor_now(), position = nextval('event_order')
FROM unnest($1::bigint[], $2::text[]) AS due (workspace_id, id)
WHERE events.workspace_id = due.workspace_id AND events.id = due.id AND events.effective_at IS NULL
RETURNING events.workspace_id, events.id, events.name, events.data, events.ts, events.effective_at, events.position
