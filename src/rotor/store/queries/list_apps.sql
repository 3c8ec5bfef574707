-- The apps of a workspace that are called over HTTP, with their functions, when they answered last and what runs in them now;
-- $2 is how many at most.
-- Called by store.workers for people. Reads the workspace's functions and all leases, which are few. Locks: none.
SELECT apps.serve_url, apps.app, apps.version, apps.function_ids, apps.registered_at, answered_at, unreached_at,
       (SELECT count(*) FROM leases
        WHERE leases.workspace_id = $1 AND kind = 'invocation' AND holder = apps.serve_url AND expires_at > rotor_now()) AS runs
FROM (
    SELECT serve_url, app, version, array_agg(id::text ORDER BY id) AS function_ids, max(updated_at) AS registered_at
    FROM functions
    WHERE workspace_id = $1 AND serve_url IS NOT NULL
    GROUP BY serve_url, app, version
) AS apps
LEFT JOIN app_calls ON app_calls.workspace_id = $1 AND app_calls.serve_url = apps.serve_url
ORDER BY apps.app, apps.serve_url, apps.version
LIMIT $2
