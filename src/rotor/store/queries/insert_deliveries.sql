-- Intake and the committer: batches of events that took effect now, whose waiters have still to be looked for. $3 numbers the
-- batch of each event.
INSERT INTO deliveries (due_at, deferred, since, workspace_ids, event_ids)
SELECT rotor_now(), false, rotor_now(), array_agg(workspace_id ORDER BY place), array_agg(event_id ORDER BY place)
FROM unnest($1::bigint[], $2::text[], $3::int[]) WITH ORDINALITY AS accepted (workspace_id, event_id, batch, place)
GROUP BY batch
ORDER BY batch
