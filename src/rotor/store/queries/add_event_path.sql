-- The matcher, under the name's lock: from here on every event of the name is indexed under the path. The wall clock, not
-- the transaction's: events may have taken effect while this one waited for the lock.
INSERT INTO event_paths (workspace_id, name, path, indexed_from)
VALUES ($1, $2, $3, clock_timestamp() + (rotor_now() - now()))
ON CONFLICT DO NOTHING
