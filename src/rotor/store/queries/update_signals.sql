-- The committer: signal rows that exist get a waiter, or are delivered to it, under their locks.
UPDATE signals
SET run_id = new.run_id, step_id = new.step_id, step_index = new.step_index,
    data = CASE WHEN new.delivered THEN signals.data END,
    completed_at = CASE WHEN new.delivered THEN signals.completed_at END,
    delivered_at = CASE WHEN new.delivered THEN rotor_now() END,
    expires_at = CASE WHEN new.delivered THEN rotor_now() + $7::interval END
FROM unnest($1::bigint[], $2::text[], $3::uuid[], $4::text[], $5::int[], $6::boolean[])
     AS new (workspace_id, id, run_id, step_id, step_index, delivered)
WHERE signals.workspace_id = new.workspace_id AND signals.id = new.id
