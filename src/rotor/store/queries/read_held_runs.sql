-- A worker that comes back: which runs its lease still holds. Index runs_held.
SELECT id, settled FROM runs WHERE lease_id = $1
