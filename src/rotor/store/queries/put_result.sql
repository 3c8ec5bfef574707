-- The committer: put_progress for a single result, which is what a batch comes to where little goes on. $1 is the lease, $2 the number
-- of its connection; $3 is the run, $4 and $5 its step, $6 what that returned and $7 how many milliseconds it took. Nothing is set up for
-- lists and ends: two thirds of put_progress. It checks and locks the same.
-- Returns the commit's number; no row where it has to go the long way.
INSERT INTO steps (run_id, id, index, op, status, attempts, output, started_at, ended_at, settled_group, position)
SELECT $3, $4, $5::int, 'run', 'completed', 1, $6, rotor_now() - $7 * interval '1 millisecond', rotor_now(), nextval('commit_group'), 1
FROM leases
WHERE id = $1 AND connection = coalesce($2, connection) AND taken_at IS NULL
  AND (SELECT lease_id = $1 AND cancel_requested_at IS NULL FROM runs WHERE id = $3)
FOR SHARE
RETURNING settled_group AS number
