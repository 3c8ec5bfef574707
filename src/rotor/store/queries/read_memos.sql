-- The dispatcher: what is recorded of claimed runs' steps, after group $2 of each, in the order in which it was settled.
-- Primary key scans of the runs' steps. A step whose backoff still runs is told as waiting.
SELECT steps.run_id, steps.id, steps.index, steps.op,
       CASE WHEN steps.status = 'retrying' AND waits.run_id IS NOT NULL THEN 'waiting' ELSE steps.status END AS status,
       steps.attempts, steps.output, steps.error, steps.child_run_id, steps.settled_group
FROM unnest($1::uuid[], $2::bigint[]) AS wanted (run_id, after_group)
JOIN steps ON steps.run_id = wanted.run_id AND steps.settled_group > wanted.after_group
LEFT JOIN waits ON waits.run_id = steps.run_id AND waits.step_id = steps.id AND waits.step_index = steps.index
               AND steps.status = 'retrying'
ORDER BY steps.run_id, steps.settled_group, steps.position
