-- The matcher: the paths by which waits have ever told events of these names apart. Primary key.
SELECT event_paths.workspace_id, event_paths.name, event_paths.path
FROM event_paths
JOIN unnest($1::bigint[], $2::text[]) AS wanted (workspace_id, name) USING (workspace_id, name)
