-- The data of the latest $1 events of any workspace: whether a server that starts can read it.
-- Called by store.readiness. Index: events_age. Locks: none.
SELECT data FROM events ORDER BY accepted_at DESC LIMIT $1
