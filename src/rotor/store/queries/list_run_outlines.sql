-- One page of a workspace's runs, newest first, without payloads.
-- $2 status or null, $3 an event name or null, $4 created at or after, $5 and $6 the run before the page or a time,
-- $7 how many runs are looked at, $8 the page's size and one. Where that many gave no full page, the last run looked at is the
-- last row, with is_end.
-- Called by store.run_lists for people. Index: runs_newest, events_pkey. Locks: none.
WITH looked AS NOT MATERIALIZED (
    SELECT id, workspace_id, function_id, status, attempt, event_id, created_at, started_at, ended_at, parent_run_id, replay_of
    FROM runs
    WHERE workspace_id = $1
      AND created_at >= coalesce($4::timestamptz, '-infinity')
      AND (created_at, id) < (coalesce($5::timestamptz, 'infinity'), coalesce($6::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
    ORDER BY created_at DESC, id DESC
    LIMIT $7
), page AS (
    SELECT looked.*, event.name AS event_name
    FROM looked
    LEFT JOIN LATERAL (SELECT name FROM events WHERE events.workspace_id = $1 AND events.id = looked.event_id LIMIT 1) AS event ON true
    WHERE ($2::text IS NULL OR status = $2)
      AND ($3::text IS NULL OR event.name = $3)
    ORDER BY created_at DESC, looked.id DESC
    LIMIT $8
)
SELECT *, false AS is_end FROM page
UNION ALL
SELECT *, NULL AS event_name, true AS is_end
FROM (SELECT * FROM looked OFFSET $7 - 1) AS last_looked
WHERE (SELECT count(*) FROM page) < $8
ORDER BY is_end, created_at DESC, id DESC
