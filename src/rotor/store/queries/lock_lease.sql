-- A worker that leaves for good by its connection $2: its lease, if that is still its connection. Primary key. Locked FOR UPDATE:
-- waits for what is being claimed and written under it.
SELECT true FROM leases WHERE id = $1 AND connection = $2 FOR UPDATE
