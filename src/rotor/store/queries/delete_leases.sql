-- The rescuer and holders that end: leases that have been taken ($1 NULL) or are given back, once they hold nothing.
-- Whatever may still be claimed under one was locked out before (lock_lease, take_leases): a claim in flight is not seen here.
DELETE FROM leases
WHERE (CASE WHEN $1::uuid[] IS NULL THEN taken_at IS NOT NULL ELSE id = ANY ($1::uuid[]) END)
  AND NOT EXISTS (SELECT FROM runs WHERE runs.lease_id = leases.id)
