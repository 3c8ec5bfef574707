-- One event of a workspace.
-- Called by store.events. Index: events_pkey. Locks: none.
SELECT id AS event_id, name AS event_name, data AS event_data, ts AS event_ts, accepted_at AS event_accepted_at,
       effective_at AS event_effective_at
FROM events WHERE workspace_id = $1 AND id = $2
