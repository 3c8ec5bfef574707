-- One page of the runs that one event ($8) started, newest first, without payloads.
-- $2 status or null, $3 an event name or null, $4 created at or after, $5 and $6 the run before the page or a time,
-- $7 its size and one, $9 a function or null.
-- Called by store.run_lists for people. Index: runs_event, events_pkey. Locks: none.
SELECT runs.id, function_id, status, attempt, event_id, events.name AS event_name, created_at, started_at, ended_at,
       parent_run_id, replay_of
-- Apart from the order: else the index that has it is read, with all runs of the workspace.
FROM (SELECT * FROM runs WHERE runs.workspace_id = $1 AND event_id = $8 OFFSET 0) AS runs
LEFT JOIN events ON events.workspace_id = runs.workspace_id AND events.id = runs.event_id
WHERE ($2::text IS NULL OR status = $2)
  AND ($3::text IS NULL OR events.name = $3)
  AND created_at >= coalesce($4::timestamptz, '-infinity')
  AND (created_at, runs.id) < (coalesce($5::timestamptz, 'infinity'), coalesce($6::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
  AND ($9::text IS NULL OR function_id = $9)
ORDER BY created_at DESC, runs.id DESC
LIMIT $7
