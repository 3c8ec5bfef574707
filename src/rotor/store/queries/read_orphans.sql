-- The rescuer: open children of cancelled runs, and cancelled runs that nobody holds, left by a server that died between two
-- commits. Indexes runs_open_children and runs_cancelling.
SELECT child.id
FROM runs AS child
JOIN runs AS parent ON parent.id = child.parent_run_id
WHERE child.parent_run_id IS NOT NULL AND child.ended_at IS NULL AND child.cancel_requested_at IS NULL AND parent.status = 'cancelled'
UNION ALL
SELECT id FROM runs
WHERE cancel_requested_at IS NOT NULL AND ended_at IS NULL AND status IN ('queued', 'waiting')
LIMIT $1
