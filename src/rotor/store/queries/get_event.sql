-- One event of a workspace.
-- Called by store.events. Index: events_pkey. Locks: none.
SELECT id, name, data, ts, accepted_at, effective_at FROM events WHERE workspace_id = $1 AND id = $2
