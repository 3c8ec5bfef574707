-- One page of the runs that one event started, newest first, without payloads.
-- $2 status or null, $3 and $4 the run before the page, $5 its size and one, $6 the event, $7 a function or null.
-- Called by store.outlines for people. Index: runs_event, events_pkey. Locks: none.
SELECT runs.id, function_id, status, attempt, event_id, events.name AS event_name, created_at, started_at, ended_at,
       parent_run_id, replay_of
FROM runs
LEFT JOIN events ON events.workspace_id = runs.workspace_id AND events.id = runs.event_id
WHERE runs.workspace_id = $1
  AND ($2::text IS NULL OR status = $2)
  AND (created_at, runs.id) < (coalesce($3::timestamptz, 'infinity'), coalesce($4::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
  AND event_id = $6
  AND ($7::text IS NULL OR function_id = $7)
ORDER BY created_at DESC, runs.id DESC
LIMIT $5
