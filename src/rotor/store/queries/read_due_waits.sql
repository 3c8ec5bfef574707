-- The timers: up to $1 parked steps whose deadline has come, nearest first, and the one that comes next, with how many seconds
-- each is away. Index waits_deadline, no locks.
(
    SELECT run_id, step_id, step_index, extract(epoch FROM deadline - rotor_now())::float8 AS seconds,
           match_hash IS NOT NULL AS for_event
    FROM waits
    WHERE deadline <= rotor_now()
    ORDER BY deadline
    LIMIT $1
) UNION ALL (
    SELECT run_id, step_id, step_index, extract(epoch FROM deadline - rotor_now())::float8, match_hash IS NOT NULL
    FROM waits
    WHERE deadline > rotor_now()
    ORDER BY deadline
    LIMIT 1
)
