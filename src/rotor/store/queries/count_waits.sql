-- The committer, under the runs' locks: how many waits each run has that is about to park. Primary key scans, no locks.
SELECT run_id, count(*)::int AS waits FROM waits WHERE run_id = ANY ($1::uuid[]) GROUP BY run_id
