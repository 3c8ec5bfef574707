-- The matcher: batches ($1) that have been looked at, by what was known of the waits at these revisions ($3) of these workspaces ($2).
-- Where one has changed since, the batches are due at once instead, to be looked at by what is known then; returned is how many.
WITH stale AS MATERIALIZED (
    SELECT FROM unnest($2::bigint[], $3::bigint[]) AS known (workspace_id, revision)
    JOIN workspaces ON workspaces.id = known.workspace_id
    WHERE workspaces.revision <> known.revision
), gone AS (
    DELETE FROM deliveries WHERE id = ANY ($1::bigint[]) AND NOT EXISTS (SELECT FROM stale)
), again AS (
    UPDATE deliveries SET due_at = rotor_now() WHERE id = ANY ($1::bigint[]) AND EXISTS (SELECT FROM stale)
    RETURNING 1
)
SELECT count(*) FROM again
