-- The matcher, where an event may wake more waits than it holds at once: their keys. Index waits_topic, no locks.
SELECT DISTINCT waits.run_id, waits.step_id, waits.step_index
FROM unnest($1::bigint[], $2::text[], $3::bigint[]) AS wanted (workspace_id, topic, match_hash)
JOIN waits ON waits.workspace_id = wanted.workspace_id AND waits.topic = wanted.topic AND waits.match_hash = wanted.match_hash
