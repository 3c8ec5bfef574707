-- The matcher: events by primary key.
SELECT events.workspace_id, events.id, events.name, events.data, events.ts, events.position
FROM events
JOIN unnest($1::bigint[], $2::text[]) AS wanted (workspace_id, id) USING (workspace_id, id)
WHERE events.position IS NOT NULL
ORDER BY events.position
