-- The committer, under the runs' locks: the steps and waits that a batch is about. Primary key look-ups, no locks.
SELECT wanted.run_id, wanted.id, wanted.index, steps.op, steps.status, steps.attempts, steps.child_run_id,
       steps.settled_group,
       waits.run_id IS NOT NULL AS parked, waits.topic, coalesce(waits.deadline <= rotor_now(), false) AS due
FROM unnest($1::uuid[], $2::text[], $3::int[]) AS wanted (run_id, id, index)
JOIN steps ON steps.run_id = wanted.run_id AND steps.id = wanted.id AND steps.index = wanted.index
LEFT JOIN waits ON waits.run_id = wanted.run_id AND waits.step_id = wanted.id AND waits.step_index = wanted.index
