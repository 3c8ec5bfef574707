-- The matcher, while it indexes events: their names, FOR SHARE, so that no path is added meanwhile. Primary key.
SELECT event_names.workspace_id, event_names.name
FROM event_names
JOIN unnest($1::bigint[], $2::text[]) AS wanted (workspace_id, name) USING (workspace_id, name)
ORDER BY 1, 2
FOR SHARE OF event_names
