-- The matcher: up to $5 waits that may want an event, by its name and the hashes of its values, with all that is needed to try them;
-- since when events may have taken effect that were not looked at yet, other than those at hand ($4); and the first event since
-- then that has the value by which the wait is found, where all of those are indexed. Indexes waits_topic, deliveries_oldest and
-- event_values_pkey, no locks.
WITH pending AS MATERIALIZED (
    SELECT min(since) AS since FROM deliveries WHERE since IS NOT NULL AND id <> ALL ($4::bigint[])
)
SELECT waits.run_id, waits.step_id, waits.step_index, waits.workspace_id, waits.topic, waits.match_hash, waits.path, waits.equals,
       waits.expression, waits.since, waits.unlooked, pending.since AS pending_since,
       -- Not a join: that could be planned as a scan of the runs.
       (SELECT event_id FROM runs WHERE id = waits.run_id) AS started_by,
       CASE WHEN (SELECT indexed_from < pending.since FROM event_paths
                  WHERE workspace_id = waits.workspace_id AND name = substr(waits.topic, 7) AND path = waits.path) THEN (
           SELECT position FROM event_values
           WHERE workspace_id = waits.workspace_id AND name = substr(waits.topic, 7) AND match_hash = waits.match_hash
             AND effective_at >= greatest(pending.since, waits.since)
           ORDER BY effective_at, position
           LIMIT 1) END AS first_pending
FROM unnest($1::bigint[], $2::text[], $3::bigint[]) AS wanted (workspace_id, topic, match_hash)
JOIN waits ON waits.workspace_id = wanted.workspace_id AND waits.topic = wanted.topic AND waits.match_hash = wanted.match_hash,
     pending
LIMIT $5
