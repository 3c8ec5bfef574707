-- The rescuer: runs whose holder's lease has been taken or is gone, and how many others each was held with. Index runs_held;
-- leases are few.
SELECT runs.id, runs.lease_id, leases.kind, count(*) OVER (PARTITION BY runs.lease_id) - 1 AS company
FROM runs
LEFT JOIN leases ON leases.id = runs.lease_id
WHERE runs.lease_id IS NOT NULL AND (leases.id IS NULL OR leases.taken_at IS NOT NULL)
LIMIT $1
