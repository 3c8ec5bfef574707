-- The committer: signal ids that nobody waits for any more, under their locks. Data that is there stays until it expires.
DELETE FROM signals
USING unnest($1::bigint[], $2::text[]) AS gone (workspace_id, id)
WHERE signals.workspace_id = gone.workspace_id AND signals.id = gone.id AND signals.data IS NULL
