-- The committer, under the runs' locks: what a batch has to know, each row one `about`: the 'step' and its wait for steps ($1 to $3),
-- 'taken' for (run, event) pairs that a wait has taken already ($4, $5), and the 'run' for runs ($6): how many waits it has, and where
-- asked ($7) whether a step of it is open. Primary keys and index steps_taken, no locks.
SELECT 'step' AS about, wanted.run_id, wanted.id, wanted.index, steps.op, steps.status, steps.attempts, steps.child_run_id,
       steps.settled_group, waits.run_id IS NOT NULL AS parked, waits.topic, coalesce(waits.deadline <= rotor_now(), false) AS due,
       0 AS waits, false AS open
FROM unnest($1::uuid[], $2::text[], $3::int[]) AS wanted (run_id, id, index)
JOIN steps ON steps.run_id = wanted.run_id AND steps.id = wanted.id AND steps.index = wanted.index
LEFT JOIN waits ON waits.run_id = wanted.run_id AND waits.step_id = wanted.id AND waits.step_index = wanted.index
UNION ALL
SELECT 'taken', wanted.run_id, wanted.event_id, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM unnest($4::uuid[], $5::text[]) AS wanted (run_id, event_id)
-- Not a plain join: on a small table that could be planned as a scan of all that was ever taken.
CROSS JOIN LATERAL (
    SELECT FROM steps
    WHERE steps.run_id = wanted.run_id AND steps.event_id = wanted.event_id AND steps.op = 'wait_for_event'
    LIMIT 1
) AS taken
UNION ALL
SELECT 'run', wanted.run_id, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
       (SELECT count(*)::int FROM waits WHERE waits.run_id = wanted.run_id),
       CASE WHEN wanted.ends THEN
           (SELECT true FROM steps WHERE steps.run_id = wanted.run_id AND steps.ended_at IS NULL LIMIT 1) END
FROM unnest($6::uuid[], $7::boolean[]) AS wanted (run_id, ends)
