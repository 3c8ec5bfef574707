-- Cancellation: whether the run is this workspace's, and its status. Primary key, no locks.
SELECT status FROM runs WHERE workspace_id = $1 AND id = $2
