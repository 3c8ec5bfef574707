-- The matcher: takes up to $1 batches of events to look at, and holds each for $2: should this server die, another takes
-- it then. Index deliveries_due; SKIP LOCKED.
UPDATE deliveries
SET due_at = rotor_now() + $2::interval, since = coalesce(since, rotor_now())
WHERE id IN (SELECT id FROM deliveries WHERE due_at <= rotor_now() ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED)
RETURNING id, deferred, workspace_ids, event_ids
