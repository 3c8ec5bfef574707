-- One run of a workspace with the event that started it.
-- Called by store.streams. Index: runs_pkey, events_pkey. Locks: none.
SELECT runs.id, function_id, status, attempt, output, error, parent_run_id, replay_of, cancel_requested_at,
       created_at, started_at, ended_at, changed_group,
       event_id, events.name AS event_name, events.data AS event_data, events.ts AS event_ts
FROM runs
LEFT JOIN events ON events.workspace_id = runs.workspace_id AND events.id = runs.event_id
-- Not a plain comparison of the workspace: that would let an index be read that has all its runs.
WHERE runs.id = $2 AND (runs.workspace_id = $1) IS TRUE
