-- The matcher: which of these names waits use, and the paths by which they have ever told their events apart, and whether each is
-- dated; a name without paths has one row. Primary keys.
SELECT event_names.workspace_id, event_names.name, event_paths.path, event_paths.indexed_from < 'infinity' AS dated
FROM event_names
JOIN unnest($1::bigint[], $2::text[]) AS wanted (workspace_id, name) USING (workspace_id, name)
LEFT JOIN event_paths USING (workspace_id, name)
