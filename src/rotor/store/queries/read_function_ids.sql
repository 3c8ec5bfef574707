-- The committer: which of the functions that a batch invokes exist. Primary key look-ups, no locks.
SELECT functions.workspace_id, functions.id
FROM functions
JOIN unnest($1::bigint[], $2::text[]) AS wanted (workspace_id, id) USING (workspace_id, id)
