-- The matcher: takes up to $1 batches of events to look at, and holds each for $2: should this server die, another takes
-- it then. Index deliveries_due; SKIP LOCKED. A CTE, which runs once: a subquery may be planned to run for each row, and
-- would then take more than $1.
WITH due AS MATERIALIZED (
    SELECT id FROM deliveries WHERE due_at <= rotor_now() ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED
)
UPDATE deliveries
SET due_at = rotor_now() + $2::interval, since = coalesce(deliveries.since, rotor_now())
FROM due
WHERE deliveries.id = due.id
RETURNING deliveries.id, deliveries.deferred, deliveries.workspace_ids, deliveries.event_ids
