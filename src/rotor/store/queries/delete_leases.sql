-- The rescuer and holders that end: leases that have been taken ($1 NULL) or are given back, once they hold nothing.
DELETE FROM leases
WHERE (CASE WHEN $1::uuid[] IS NULL THEN taken_at IS NOT NULL ELSE id = ANY ($1::uuid[]) END)
  AND NOT EXISTS (SELECT FROM runs WHERE runs.lease_id = leases.id)
