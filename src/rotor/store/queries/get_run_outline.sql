-- One run of a workspace with the beginnings of its payloads ($3 bytes of each), and what it depends on to move.
-- Called by store.outlines for people. Index: runs_pkey, events_pkey, functions_pkey, leases_pkey. Locks: none.
SELECT runs.id, function_id, status, attempt, error, runs.event_id, cancel_requested_at, parent_run_id, replay_of,
       runs.created_at, started_at, ended_at, due_at,
       payload_head(output, $3) AS output_head, payload_size(output) AS output_bytes,
       events.name AS event_name, events.ts AS event_ts,
       payload_head(events.data, $3) AS event_head, payload_size(events.data) AS event_bytes,
       functions.id IS NOT NULL AS registered, functions.paused_at, functions.serve_url,
       leases.holder, leases.kind AS holder_kind,
       EXISTS (SELECT FROM leases AS alive
               WHERE alive.workspace_id = $1 AND alive.kind = 'worker' AND alive.expires_at > rotor_now()) AS has_workers,
       rotor_now() AS now
FROM runs
LEFT JOIN events ON events.workspace_id = runs.workspace_id AND events.id = runs.event_id
LEFT JOIN functions ON functions.workspace_id = runs.workspace_id AND functions.id = runs.function_id
LEFT JOIN leases ON leases.id = runs.lease_id
-- Not a plain comparison of the workspace: that would let an index be read that has all its runs.
WHERE runs.id = $2 AND (runs.workspace_id = $1) IS TRUE
