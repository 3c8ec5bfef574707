-- The minutes of the last hour in which runs of a workspace started or ended: runs started and ended, failures, and in seconds how long runs waited for their start
-- and how long completed ones took, of which half and 95 of 100 took no longer. Of each minute at most $2 runs are looked at; those
-- that end in all workspaces share that number.
-- Called by store.figures for people. Index: runs_newest, runs_ended. Locks: none.
SELECT minute.at, created.runs AS created, created.wait_p50, created.wait_p95,
       ended.runs AS ended, ended.failed, ended.took_p50, ended.took_p95, created.runs = $2 OR ended.looked = $2 AS is_cut
FROM (
    SELECT date_trunc('minute', rotor_now()) - ago * interval '1 minute' AS at FROM generate_series(0, 59) AS given (ago)
) AS minute
CROSS JOIN LATERAL (
    SELECT count(*) AS runs,
           percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) AS wait_p50,
           percentile_cont(0.95) WITHIN GROUP (ORDER BY seconds) AS wait_p95
    FROM (
        SELECT extract(epoch FROM started_at - created_at)::float8 AS seconds
        FROM runs
        WHERE workspace_id = $1 AND created_at >= minute.at AND created_at < minute.at + interval '1 minute'
        ORDER BY created_at DESC, id DESC
        LIMIT $2
    ) AS looked_at
) AS created
CROSS JOIN LATERAL (
    SELECT count(*) AS looked,
           count(*) FILTER (WHERE workspace_id = $1) AS runs,
           count(*) FILTER (WHERE workspace_id = $1 AND status = 'failed') AS failed,
           percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) FILTER (WHERE workspace_id = $1 AND status = 'completed') AS took_p50,
           percentile_cont(0.95) WITHIN GROUP (ORDER BY seconds) FILTER (WHERE workspace_id = $1 AND status = 'completed') AS took_p95
    FROM (
        SELECT workspace_id, status, extract(epoch FROM ended_at - created_at)::float8 AS seconds
        FROM runs
        WHERE ended_at >= minute.at AND ended_at < minute.at + interval '1 minute'
        ORDER BY ended_at DESC
        LIMIT $2
    ) AS looked_at
) AS ended
WHERE created.runs > 0 OR ended.runs > 0
ORDER BY minute.at
