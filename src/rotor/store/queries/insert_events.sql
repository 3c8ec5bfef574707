-- Intake and the committer: accepted events. One whose id the workspace has already had changes nothing and is not
-- returned. An event of the future stays deferred: it has no position yet.
INSERT INTO events (workspace_id, id, name, data, ts, accepted_at, effective_at, position, traceparent)
SELECT new.workspace_id, new.id, new.name, new.data, coalesce(new.ts, rotor_now()), rotor_now(),
       CASE WHEN new.ts > rotor_now() THEN NULL ELSE rotor_now() END,
       CASE WHEN new.ts > rotor_now() THEN NULL ELSE nextval('event_order') END, new.traceparent
FROM unnest($1::text[]::bigint[], $2::text[], $3::text[], $4::bytea[], $5::timestamptz[], $6::text[])
     AS new (workspace_id, id, name, data, ts, traceparent)
ON CONFLICT (workspace_id, id) DO NOTHING
RETURNING workspace_id, id, position, ts
