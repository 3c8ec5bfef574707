-- The committer, after the commit that cancelled them: the open children of runs. Index runs_open_children, no locks.
SELECT id FROM runs WHERE parent_run_id = ANY ($1::uuid[]) AND ended_at IS NULL
