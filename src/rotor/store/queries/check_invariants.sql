-- `rotor doctor`: what must never be. Every open run has exactly one reason to move (a due time, a lease, or parked steps);
-- every wait has its open run and its parked step; nothing that is due is left lying for a minute. Full scans, read only.
-- Runs are found by their keys (NOT MATERIALIZED), so that no table is read once for each row of another, whatever is known of them.
WITH open_runs AS NOT MATERIALIZED (
    SELECT * FROM runs WHERE ended_at IS NULL
), overdue AS (
    SELECT rotor_now() - interval '1 minute' AS since
)
SELECT 'run waits for nothing' AS kind, id::text AS subject,
       'it is waiting, but no parked step can wake it' AS message
FROM open_runs WHERE status = 'waiting' AND NOT EXISTS (SELECT FROM waits WHERE waits.run_id = open_runs.id)
UNION ALL
SELECT 'lease is gone', open_runs.id::text, 'it is running under lease ' || lease_id || ', which ran out over a minute ago'
FROM open_runs LEFT JOIN leases ON leases.id = open_runs.lease_id, overdue
WHERE open_runs.status = 'running' AND (leases.id IS NULL OR leases.expires_at < overdue.since)
UNION ALL
SELECT 'wait without run', waits.run_id || ' ' || waits.step_id, 'its run has ended or is gone'
FROM waits LEFT JOIN open_runs ON open_runs.id = waits.run_id WHERE open_runs.id IS NULL
UNION ALL
SELECT 'wait without step', waits.run_id || ' ' || waits.step_id, 'no step of its run is parked under this id'
FROM waits LEFT JOIN steps ON steps.run_id = waits.run_id AND steps.id = waits.step_id AND steps.index = waits.step_index
WHERE steps.run_id IS NULL OR steps.status NOT IN ('waiting', 'retrying')
UNION ALL
SELECT 'step without wait', steps.run_id || ' ' || steps.id, 'it is ' || steps.status || ', but nothing can wake it'
FROM steps JOIN open_runs ON open_runs.id = steps.run_id
WHERE steps.status = 'waiting'
  AND NOT EXISTS (SELECT FROM waits WHERE waits.run_id = steps.run_id AND waits.step_id = steps.id AND waits.step_index = steps.index)
UNION ALL
SELECT 'open step of an ended run', steps.run_id || ' ' || steps.id, 'its run has ended, and it is still ' || steps.status
FROM steps JOIN runs ON runs.id = steps.run_id WHERE runs.ended_at IS NOT NULL AND steps.ended_at IS NULL
UNION ALL
SELECT 'deadline passed over', waits.run_id || ' ' || waits.step_id, 'it was due at ' || waits.deadline || ': does a server run?'
FROM waits, overdue WHERE waits.deadline < overdue.since
UNION ALL
SELECT 'delivery passed over', deliveries.id::text,
       'events accepted at ' || coalesce(deliveries.since, deliveries.due_at) || ' were not looked at: does a server run?'
FROM deliveries, overdue WHERE coalesce(deliveries.since, deliveries.due_at) < overdue.since
UNION ALL
SELECT 'look back passed over', waits.run_id || ' ' || waits.step_id, 'it has waited since ' || steps.started_at || ' to be looked at'
FROM waits JOIN steps ON steps.run_id = waits.run_id AND steps.id = waits.step_id AND steps.index = waits.step_index, overdue
WHERE waits.unlooked AND steps.started_at < overdue.since
UNION ALL
SELECT 'deferred event forgotten', events.id, 'it was to take effect at ' || events.ts || ', and nothing will see to it'
FROM events, overdue
WHERE events.effective_at IS NULL AND events.ts < overdue.since
  AND NOT EXISTS (SELECT FROM deliveries WHERE events.id = ANY (deliveries.event_ids))
UNION ALL
SELECT 'cancellation passed over', open_runs.id::text, 'it was asked for at ' || open_runs.cancel_requested_at || ': does a server run?'
FROM open_runs, overdue WHERE status IN ('queued', 'waiting') AND cancel_requested_at < overdue.since
UNION ALL
SELECT 'run without function', open_runs.id::text, 'function ' || open_runs.function_id || ' is gone: nobody can claim the run'
FROM open_runs LEFT JOIN functions ON functions.workspace_id = open_runs.workspace_id AND functions.id = open_runs.function_id
WHERE open_runs.status = 'queued' AND functions.id IS NULL
UNION ALL
SELECT 'child of a cancelled run', child.id::text, 'its parent ' || parent.id || ' was cancelled over a minute ago'
FROM open_runs AS child JOIN runs AS parent ON parent.id = child.parent_run_id, overdue
WHERE parent.status = 'cancelled' AND parent.ended_at < overdue.since AND child.cancel_requested_at IS NULL
UNION ALL
SELECT 'child ended unheard', child.id::text, 'run ' || child.parent_run_id || ' still waits for it'
FROM runs AS child
JOIN waits ON waits.run_id = child.parent_run_id AND waits.step_id = child.parent_step_id AND waits.step_index = child.parent_step_index
WHERE child.ended_at IS NOT NULL
UNION ALL
SELECT 'child missing', steps.run_id || ' ' || steps.id, 'it waits for run ' || steps.child_run_id || ', which is gone'
FROM steps JOIN waits ON waits.run_id = steps.run_id AND waits.step_id = steps.id AND waits.step_index = steps.index
LEFT JOIN runs AS child ON child.id = steps.child_run_id
WHERE waits.topic = 'child' AND child.id IS NULL
UNION ALL
SELECT 'signal without wait', signals.id, 'run ' || signals.run_id || ' is said to wait for it, and does not'
FROM signals
LEFT JOIN waits ON waits.run_id = signals.run_id AND waits.step_id = signals.step_id AND waits.step_index = signals.step_index
WHERE signals.run_id IS NOT NULL AND signals.delivered_at IS NULL AND waits.run_id IS NULL
UNION ALL
SELECT 'wait without signal', waits.run_id || ' ' || waits.step_id, substr(waits.topic, 8) || ' would not be delivered to it'
FROM waits
LEFT JOIN signals ON signals.workspace_id = waits.workspace_id AND signals.id = substr(waits.topic, 8)
                 AND signals.run_id = waits.run_id AND signals.step_id = waits.step_id AND signals.step_index = waits.step_index
                 AND signals.delivered_at IS NULL
WHERE waits.topic LIKE 'signal:%' AND signals.id IS NULL
UNION ALL
SELECT 'signal passed over', signals.id, 'it was completed at ' || signals.completed_at || ' and not delivered: does a server run?'
FROM signals, overdue WHERE run_id IS NOT NULL AND delivered_at IS NULL AND completed_at < overdue.since
UNION ALL
SELECT 'run without event', runs.id::text, 'the event ' || runs.event_id || ' that started it is gone'
FROM open_runs AS runs LEFT JOIN events ON events.workspace_id = runs.workspace_id AND events.id = runs.event_id
WHERE events.id IS NULL
ORDER BY 1, 2
