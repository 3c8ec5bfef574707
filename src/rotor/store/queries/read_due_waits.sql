-- The timers: the parked steps with the nearest deadlines, and how many seconds each is away. Index waits_deadline, no locks.
SELECT run_id, step_id, step_index, extract(epoch FROM deadline - rotor_now())::float8 AS seconds
FROM waits
WHERE deadline IS NOT NULL
ORDER BY deadline
LIMIT $1
