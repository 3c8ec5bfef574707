-- Some steps of a run in the order in which they began; $3, $4 and $5 are the step before them, $6 is how many at most,
-- $7 the payload bytes after which they are cut short. `found` counts the steps before that cut.
-- Called by store.runs. Index: steps_pkey, runs_pkey. Locks: none.
WITH page AS (
    SELECT steps.id, index, op, steps.status, attempts, steps.output, steps.error, child_run_id, steps.event_id, waits_for, deadline, steps.started_at,
           steps.ended_at,
           version_at(runs.versions, runs.versions_since, coalesce(CASE WHEN op IN ('run', 'send_event') THEN steps.ended_at END, steps.started_at))
               AS version,
           coalesce(octet_length(steps.output), 0) + coalesce(octet_length(steps.error), 0) AS size
    FROM steps
    JOIN runs ON runs.id = steps.run_id
    WHERE runs.workspace_id = $1 AND runs.id = $2
      AND (steps.started_at, steps.id, index) > ($3::timestamptz, $4::text, $5::int)
    ORDER BY steps.started_at, steps.id, index
    LIMIT $6
), measured AS (
    SELECT *, sum(size) OVER (ORDER BY started_at, id, index) - size AS bytes_before, count(*) OVER () AS found
    FROM page
)
SELECT * FROM measured WHERE bytes_before < $7 ORDER BY started_at, id, index
