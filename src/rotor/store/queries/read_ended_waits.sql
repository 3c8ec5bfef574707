-- The committer, where the server traces: when the waits began and ended that a batch has just settled, and whose trace they are in.
-- Primary key look-ups, no locks.
SELECT steps.run_id, steps.id, steps.index, steps.op, steps.status, steps.started_at, steps.ended_at, runs.function_id,
       runs.event_id, events.traceparent
FROM unnest($1::uuid[], $2::text[], $3::int[]) AS wanted (run_id, id, index)
JOIN steps ON steps.run_id = wanted.run_id AND steps.id = wanted.id AND steps.index = wanted.index
JOIN runs ON runs.id = steps.run_id
JOIN events ON events.workspace_id = runs.workspace_id AND events.id = runs.event_id
WHERE steps.ended_at IS NOT NULL AND steps.settled_group = $4
