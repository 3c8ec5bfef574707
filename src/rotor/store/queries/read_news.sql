-- The committer and the pulse: of runs whose holder has missed something, the waits that came to an end; of those in $2, whose
-- holder came back and may have missed any answer, every step that did, or what it hears of first would not be what came first.
-- Scans the runs' steps by primary key; rare. No locks.
SELECT run_id, id, index, op, status, attempts, output, error, child_run_id, settled_group
FROM steps
WHERE run_id = ANY ($1::uuid[])
  AND (status IN ('completed', 'failed', 'timed_out')
           AND (waits_for IS NOT NULL OR op = 'sleep' OR run_id = ANY ($2::uuid[]))
       OR status = 'retrying' AND NOT EXISTS (
           SELECT FROM waits
           WHERE waits.run_id = steps.run_id AND waits.step_id = steps.id AND waits.step_index = steps.index))
ORDER BY settled_group, position
