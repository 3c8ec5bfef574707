-- The steps of a run that changed after a place ($3 to $6) in the order of its commits; $7 is how many at most,
-- $8 the payload bytes after which they are cut short. `found` counts the steps before that cut.
-- Called by store.streams. Index: steps_pkey, runs_pkey. Locks: none.
WITH page AS (
    SELECT steps.id, index, op, steps.status, attempts, steps.output, steps.error, child_run_id, steps.event_id, waits_for, deadline, steps.started_at,
           steps.ended_at,
           version_at(runs.versions, runs.versions_since, coalesce(CASE WHEN op IN ('run', 'send_event') THEN steps.ended_at END, steps.started_at))
               AS version,
           settled_group, position,
           coalesce(octet_length(steps.output), 0) + coalesce(octet_length(steps.error), 0) AS size
    FROM steps
    JOIN runs ON runs.id = steps.run_id
    WHERE runs.workspace_id = $1 AND runs.id = $2
      AND (settled_group, position, steps.id, index) > ($3::bigint, $4::int, $5::text, $6::int)
    ORDER BY settled_group, position, steps.id, index
    LIMIT $7
), measured AS (
    SELECT *,
           sum(size) OVER (ORDER BY settled_group, position, id, index) - size AS bytes_before,
           count(*) OVER () AS found
    FROM page
)
SELECT * FROM measured WHERE bytes_before < $8 ORDER BY settled_group, position, id, index
