-- The rescuer and holders that end: leases that have run out ($1 NULL) or are given back, once they hold nothing.
DELETE FROM leases
WHERE (CASE WHEN $1::uuid[] IS NULL THEN expires_at <= rotor_now() ELSE id = ANY ($1::uuid[]) END)
  AND NOT EXISTS (SELECT FROM runs WHERE runs.lease_id = leases.id)
