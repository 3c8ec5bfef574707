-- Write functions ($2, with retries $3) that are new or have changed; a paused one stays paused.
-- Called by store.functions under the lock of the workspace's row. Index: functions_pkey. Locks: the rows.
INSERT INTO functions (workspace_id, id, retries, serve_url, app, version)
SELECT $1, id, retries, $4::text, $5::text, $6::text
FROM unnest($2::text[], $3::int[]) AS given (id, retries)
ON CONFLICT (workspace_id, id) DO UPDATE
SET serve_url = excluded.serve_url,
    app = excluded.app,
    version = excluded.version,
    retries = excluded.retries,
    updated_at = rotor_now()
