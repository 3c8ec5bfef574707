-- The committer: which of the functions that a batch invokes exist. Primary key look-ups. Held FOR KEY SHARE, in their order, to the
-- commit: who deletes one waits, and then sees the runs that it has to cancel.
SELECT functions.workspace_id, functions.id
FROM functions
JOIN unnest($1::bigint[], $2::text[]) AS wanted (workspace_id, id) USING (workspace_id, id)
ORDER BY functions.workspace_id, functions.id
FOR KEY SHARE OF functions
