-- One page of a workspace's events, newest first, with the beginnings of their data ($5 bytes) and how many runs each started.
-- $2 and $3 the event before the page, $4 its size and one, $6 how many runs are counted.
-- Called by store.event_lists for people. Index: events_newest, runs_event. Locks: none.
SELECT page.id, name, ts, accepted_at, effective_at, head, bytes_total, started.runs
FROM (
    SELECT id, name, ts, accepted_at, effective_at,
           payload_head(data, $5) AS head, payload_size(data) AS bytes_total
    FROM events
    WHERE workspace_id = $1
      AND (accepted_at, id) < (coalesce($2::timestamptz, 'infinity'), coalesce($3::text, ''))
    ORDER BY accepted_at DESC, id DESC
    LIMIT $4
) AS page
CROSS JOIN LATERAL (
    SELECT count(*) AS runs
    FROM (SELECT FROM runs WHERE runs.workspace_id = $1 AND runs.event_id = page.id LIMIT $6) AS counted
) AS started
ORDER BY accepted_at DESC, page.id DESC
