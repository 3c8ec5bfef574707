-- The matcher: events that have taken effect, by primary key, in the order in which they did.
SELECT events.workspace_id, events.id, events.name, events.data, events.ts, events.effective_at, events.position
FROM events
JOIN unnest($1::bigint[], $2::text[]) AS wanted (workspace_id, id) USING (workspace_id, id)
WHERE events.position IS NOT NULL
ORDER BY events.effective_at, events.position
