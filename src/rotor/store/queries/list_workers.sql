-- The workers of a workspace whose leases hold, on whichever server, each with how many runs it holds; $2 is how many at most, $3 how
-- long a lease lasts from when its worker was heard.
-- Called by store.workers for people. Reads the whole table, which is small. Index: runs_held. Locks: none.
SELECT id, holder AS name, app, version, slots, created_at AS connected_at,
       least(expires_at - $3::interval, rotor_now()) AS seen_at,
       (SELECT count(*) FROM runs WHERE runs.lease_id = leases.id) AS runs
FROM leases
WHERE workspace_id = $1 AND kind = 'worker' AND expires_at > rotor_now()
ORDER BY created_at DESC, id DESC
LIMIT $2
