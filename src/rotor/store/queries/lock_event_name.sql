-- The matcher, before it adds a path: waits for everyone who is indexing events of the name.
SELECT 1 FROM event_names WHERE workspace_id = $1 AND name = $2 FOR UPDATE
