-- The matcher: batches ($1) that have been looked at, by what was known of the waits at these revisions ($3) of these workspaces ($2).
-- Those of workspaces that have changed since are due at once instead, to be looked at by what is known then; returned is how many.
WITH stale AS MATERIALIZED (
    SELECT coalesce(array_agg(workspaces.id), '{}') AS ids
    FROM unnest($2::bigint[], $3::bigint[]) AS known (workspace_id, revision)
    JOIN workspaces ON workspaces.id = known.workspace_id
    WHERE workspaces.revision <> known.revision
), gone AS (
    DELETE FROM deliveries USING stale WHERE id = ANY ($1::bigint[]) AND NOT workspace_ids && stale.ids
), again AS (
    UPDATE deliveries SET due_at = rotor_now() FROM stale WHERE id = ANY ($1::bigint[]) AND workspace_ids && stale.ids
    RETURNING 1
)
SELECT count(*) FROM again
