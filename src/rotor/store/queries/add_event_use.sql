-- The matcher: a name that some wait uses for the first time, or a path ($3; NULL: none) of it. It is a commit of its own: whoever
-- writes an event and does not know of it has begun before, or finds the workspace's revision changed.
WITH named AS (
    INSERT INTO event_names (workspace_id, name) VALUES ($1, $2)
    ON CONFLICT DO NOTHING
    RETURNING 1
), used AS (
    INSERT INTO event_paths (workspace_id, name, path, indexed_from)
    SELECT $1, $2, $3::text, 'infinity' WHERE $3::text IS NOT NULL
    ON CONFLICT DO NOTHING
    RETURNING 1
)
UPDATE workspaces SET revision = revision + 1
WHERE id = $1 AND (EXISTS (SELECT FROM named) OR EXISTS (SELECT FROM used))
