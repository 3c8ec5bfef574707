-- The committer: put_progress for the end of a single run, as put_result is for a single result. $1 is the lease, $2 the number of its
-- connection, $3 the run and $4 what it returned. It checks and locks the same, first the lease and then the run.
-- Returns the commit's number; no row where it has to go the long way.
UPDATE runs
SET status = 'completed', lease_id = NULL, output = $4, ended_at = rotor_now(), changed_group = nextval('commit_group')
WHERE id = $3 AND (lease_id = $1) IS TRUE -- no index of leases, which hold many runs, serves that
  AND parent_run_id IS NULL AND cancel_requested_at IS NULL
  AND (SELECT true FROM leases WHERE id = $1 AND connection = coalesce($2, connection) AND taken_at IS NULL FOR SHARE)
  AND NOT EXISTS (SELECT FROM steps WHERE run_id = $3 AND ended_at IS NULL)
RETURNING changed_group AS number
