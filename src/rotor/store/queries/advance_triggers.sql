-- The scheduler, under the triggers' locks: their next fires. Primary key.
UPDATE triggers SET next_at = new.next_at
FROM unnest($1::bigint[], $2::text[], $3::int[], $4::timestamptz[]) AS new (workspace_id, function_id, position, next_at)
WHERE triggers.workspace_id = new.workspace_id AND triggers.function_id = new.function_id AND triggers.position = new.position
