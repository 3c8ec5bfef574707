-- The last lines of a run's log, oldest first; $3 is how many at most.
-- `missed`: the holder counts its lines, from 1 again when the run begins anew.
-- Called by store.run_logs. Index: run_logs_pkey, runs_pkey. Locks: none.
WITH page AS (
    SELECT position, at, level, message, step_id, step_index, line
    FROM run_logs
    WHERE run_id = (SELECT runs.id FROM runs WHERE runs.workspace_id = $1 AND runs.id = $2)
    ORDER BY position DESC
    LIMIT $3
)
SELECT page.position AS number, page.at, page.level, page.message, page.step_id, page.step_index,
       page.line - 1 - CASE WHEN before.line < page.line THEN before.line ELSE 0 END AS missed
FROM page
LEFT JOIN run_logs AS before ON before.run_id = $2 AND before.position = page.position - 1
ORDER BY page.position
