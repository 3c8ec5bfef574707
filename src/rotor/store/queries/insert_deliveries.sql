-- Intake, the committer and the matcher: batches of events whose waiters have still to be looked for.
INSERT INTO deliveries (due_at, deferred, workspace_ids, event_ids)
VALUES (coalesce($1::timestamptz, rotor_now()), $1::timestamptz IS NOT NULL, $2::bigint[], $3::text[])
