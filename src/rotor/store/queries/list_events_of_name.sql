-- One page of a workspace's events of one name ($7) that have taken effect, newest first, otherwise as list_events.
-- $2 and $3 the event before the page by time of effect and position, $4 its size and one, $5 the bytes of each beginning,
-- $6 how many runs are counted.
-- Called by store.event_lists for people. Index: events_name, runs_event. Locks: none.
SELECT page.id, name, ts, accepted_at, effective_at, head, bytes_total, started.runs, position
FROM (
    SELECT id, name, ts, accepted_at, effective_at, position,
           payload_head(data, $5) AS head, payload_size(data) AS bytes_total
    FROM events
    WHERE workspace_id = $1 AND name = $7 AND effective_at IS NOT NULL
      AND (effective_at, position) < (coalesce($2::timestamptz, 'infinity'), coalesce($3::bigint, 0))
    ORDER BY effective_at DESC, position DESC
    LIMIT $4
) AS page
CROSS JOIN LATERAL (
    SELECT count(*) AS runs
    FROM (SELECT FROM runs WHERE runs.workspace_id = $1 AND runs.event_id = page.id LIMIT $6) AS counted
) AS started
ORDER BY effective_at DESC, position DESC
