-- Intake, the committer and the matcher: which functions the named events start. Index triggers_event, no locks.
SELECT triggers.workspace_id, triggers.event_name, triggers.function_id, triggers.match
FROM triggers
JOIN unnest($1::bigint[], $2::text[]) AS wanted (workspace_id, event_name)
  ON triggers.workspace_id = wanted.workspace_id AND triggers.event_name = wanted.event_name
ORDER BY triggers.workspace_id, triggers.event_name, triggers.function_id, triggers.position
