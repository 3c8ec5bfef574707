-- The matcher: a name that some wait uses for the first time.
INSERT INTO event_names (workspace_id, name) VALUES ($1, $2) ON CONFLICT DO NOTHING
