-- The latest runs of each of some functions ($2), newest first, at most $3 of each.
-- Called by store.outlines for people. Index: runs_function. Locks: none.
SELECT latest.id, latest.function_id, latest.status, latest.created_at, latest.started_at, latest.ended_at
FROM unnest($2::text[]) AS wanted (function_id)
CROSS JOIN LATERAL (
    SELECT id, function_id, status, created_at, started_at, ended_at
    FROM runs
    WHERE workspace_id = $1 AND runs.function_id = wanted.function_id
    ORDER BY created_at DESC, id DESC
    LIMIT $3
) AS latest
ORDER BY latest.function_id, latest.created_at DESC, latest.id DESC
