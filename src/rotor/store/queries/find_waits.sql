-- The matcher: up to $5 waits that may want an event, by its name and the hashes of its values, with all that is needed to try them;
-- and since when events may have taken effect that were not looked at yet, other than those at hand ($4). Indexes waits_topic and
-- deliveries_oldest, no locks.
SELECT waits.run_id, waits.step_id, waits.step_index, waits.workspace_id, waits.topic, waits.match_hash, waits.path, waits.equals,
       waits.expression, waits.since, waits.unlooked,
       -- Not a join: that could be planned as a scan of the runs.
       (SELECT event_id FROM runs WHERE id = waits.run_id) AS started_by,
       (SELECT min(since) FROM deliveries WHERE since IS NOT NULL AND id <> ALL ($4::bigint[])) AS pending_since
FROM unnest($1::bigint[], $2::text[], $3::bigint[]) AS wanted (workspace_id, topic, match_hash)
JOIN waits ON waits.workspace_id = wanted.workspace_id AND waits.topic = wanted.topic AND waits.match_hash = wanted.match_hash
LIMIT $5
