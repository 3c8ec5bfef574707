-- The steps of a run that changed after a place ($3 to $6) in the order of its commits; $7 is how many at most,
-- $8 the payload bytes after which they are cut short. `found` counts the steps before that cut.
-- Called by store.streams. Index: steps_pkey, runs_pkey. Locks: none.
WITH page AS (
    SELECT id, index, op, status, attempts, output, error, child_run_id, event_id, waits_for, deadline, started_at, ended_at,
           settled_group, position,
           coalesce(octet_length(output), 0) + coalesce(octet_length(error), 0) AS size
    FROM steps
    WHERE run_id = (SELECT runs.id FROM runs WHERE runs.workspace_id = $1 AND runs.id = $2)
      AND (settled_group, position, id, index) > ($3::bigint, $4::int, $5::text, $6::int)
    ORDER BY settled_group, position, id, index
    LIMIT $7
), measured AS (
    SELECT *,
           sum(size) OVER (ORDER BY settled_group, position, id, index) - size AS bytes_before,
           count(*) OVER () AS found
    FROM page
)
SELECT * FROM measured WHERE bytes_before < $8 ORDER BY settled_group, position, id, index
