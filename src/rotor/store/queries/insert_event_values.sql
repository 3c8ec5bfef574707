-- Intake, as deferred events take effect: which of them hold which value at a path that waits use.
INSERT INTO event_values (workspace_id, name, match_hash, effective_at, position, event_id)
SELECT * FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::timestamptz[], $5::bigint[], $6::text[])
ON CONFLICT DO NOTHING
