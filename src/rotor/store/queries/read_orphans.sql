-- The rescuer: open children whose parent is (being) cancelled or has given them up, and cancelled runs that nobody holds,
-- left by a server that died between two commits. Indexes runs_open_children and runs_cancelling.
SELECT child.id
FROM runs AS child
JOIN runs AS parent ON parent.id = child.parent_run_id
LEFT JOIN steps ON steps.run_id = child.parent_run_id AND steps.id = child.parent_step_id AND steps.index = child.parent_step_index
WHERE child.parent_run_id IS NOT NULL AND child.ended_at IS NULL AND child.cancel_requested_at IS NULL
  AND (parent.cancel_requested_at IS NOT NULL
       -- A step that was still open as its run ended is closed with it, and its child goes on.
       OR steps.status IN ('timed_out', 'cancelled') AND (parent.ended_at IS NULL OR steps.ended_at < parent.ended_at))
UNION ALL
SELECT id FROM runs
WHERE cancel_requested_at IS NOT NULL AND ended_at IS NULL AND status IN ('queued', 'waiting')
LIMIT $1
