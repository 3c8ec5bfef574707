-- Intake, the committer and the matcher: what events of these names meet, at which revision of their workspace: the functions that
-- they start, whether some wait has ever used the name, the paths by which waits have told such events apart, and whether all of
-- those are dated. Index triggers_event and primary keys, no locks.
SELECT wanted.workspace_id, wanted.name, workspaces.revision,
       ARRAY(
           SELECT ROW(function_id, match) FROM triggers
           WHERE triggers.workspace_id = wanted.workspace_id AND triggers.event_name = wanted.name
           ORDER BY function_id, position) AS triggers,
       coalesce((
           SELECT true FROM event_names
           WHERE event_names.workspace_id = wanted.workspace_id AND event_names.name = wanted.name), false) AS awaited,
       ARRAY(
           SELECT path FROM event_paths
           WHERE event_paths.workspace_id = wanted.workspace_id AND event_paths.name = wanted.name
           ORDER BY path) AS paths,
       coalesce((
           SELECT bool_and(indexed_from < 'infinity') FROM event_paths
           WHERE event_paths.workspace_id = wanted.workspace_id AND event_paths.name = wanted.name), true) AS dated
FROM unnest($1::bigint[], $2::text[]) AS wanted (workspace_id, name)
JOIN workspaces ON workspaces.id = wanted.workspace_id
