-- The committer, where a step that had ended was said again: the commits that recorded those steps. Primary key look-ups, no locks.
SELECT steps.run_id, steps.id, steps.index, steps.settled_group
FROM unnest($1::uuid[], $2::text[], $3::int[]) AS wanted (run_id, id, index)
JOIN steps ON steps.run_id = wanted.run_id AND steps.id = wanted.id AND steps.index = wanted.index
WHERE steps.ended_at IS NOT NULL AND steps.settled_group <> $4
