-- The matcher: waits by a path under which no events are indexed, since their name has paths enough. From here on they are found by the
-- name alone, and look back through all events of it. Primary key.
UPDATE waits SET path = NULL, match_hash = 0
FROM unnest($1::uuid[], $2::text[], $3::int[]) AS beyond (run_id, step_id, step_index)
WHERE waits.run_id = beyond.run_id AND waits.step_id = beyond.step_id AND waits.step_index = beyond.step_index
