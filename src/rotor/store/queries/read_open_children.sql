-- The committer, after the commit that cancelled them: up to $2 of the open children of runs that have not been told yet. Index
-- runs_open_children, no locks.
SELECT id FROM runs WHERE parent_run_id = ANY ($1::uuid[]) AND ended_at IS NULL AND cancel_requested_at IS NULL LIMIT $2
