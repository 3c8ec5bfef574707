-- The committer: the signals that a batch is about. Primary key look-ups; row locks in the order of the key.
SELECT signals.workspace_id, signals.id, signals.run_id, signals.step_id, signals.step_index, signals.data,
       signals.delivered_at IS NOT NULL AS delivered, coalesce(signals.expires_at <= rotor_now(), false) AS expired
FROM signals
JOIN unnest($1::bigint[], $2::text[]) AS wanted (workspace_id, id) USING (workspace_id, id)
ORDER BY signals.workspace_id, signals.id
FOR UPDATE OF signals
