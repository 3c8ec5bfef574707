-- How the latest runs ($3 of each) of those of some functions ($2) that have any went: how many, their ends, and the durations in seconds that half and
-- 95 of 100 completed ones did not exceed.
-- Called by store.figures for people. Index: runs_function. Locks: none.
SELECT wanted.function_id, latest.*
FROM unnest($2::text[]) AS wanted (function_id)
CROSS JOIN LATERAL (
    SELECT count(*) AS runs,
           count(*) FILTER (WHERE status = 'completed') AS completed,
           count(*) FILTER (WHERE status = 'failed') AS failed,
           percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) FILTER (WHERE status = 'completed') AS seconds_p50,
           percentile_cont(0.95) WITHIN GROUP (ORDER BY seconds) FILTER (WHERE status = 'completed') AS seconds_p95
    FROM (
        SELECT status, extract(epoch FROM ended_at - created_at)::float8 AS seconds
        FROM runs
        WHERE workspace_id = $1 AND runs.function_id = wanted.function_id
        ORDER BY created_at DESC, id DESC
        LIMIT $3
    ) AS counted
) AS latest
WHERE latest.runs > 0
