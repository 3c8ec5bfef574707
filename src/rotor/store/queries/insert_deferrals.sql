-- Intake and the committer: events that take effect later, each at its own time.
INSERT INTO deliveries (due_at, deferred, workspace_ids, event_ids)
SELECT due_at, true, ARRAY[workspace_id], ARRAY[event_id]
FROM unnest($1::bigint[], $2::text[], $3::timestamptz[]) AS deferred (workspace_id, event_id, due_at)
