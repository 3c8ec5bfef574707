-- Some steps of a run in the order in which they began; $3, $4 and $5 are the step before them, $6 is how many at most,
-- $7 the payload bytes after which they are cut short. `found` counts the steps before that cut.
-- Called by store.runs. Index: steps_pkey, runs_pkey. Locks: none.
WITH page AS (
    SELECT id, index, op, status, attempts, output, error, child_run_id, event_id, waits_for, deadline, started_at, ended_at,
           coalesce(octet_length(output), 0) + coalesce(octet_length(error), 0) AS size
    FROM steps
    WHERE run_id = (SELECT runs.id FROM runs WHERE runs.workspace_id = $1 AND runs.id = $2)
      AND (started_at, id, index) > (coalesce($3::timestamptz, '-infinity'), $4::text, $5::int)
    ORDER BY started_at, id, index
    LIMIT $6
), measured AS (
    SELECT *, sum(size) OVER (ORDER BY started_at, id, index) - size AS bytes_before, count(*) OVER () AS found
    FROM page
)
SELECT * FROM measured WHERE bytes_before < $7 ORDER BY started_at, id, index
