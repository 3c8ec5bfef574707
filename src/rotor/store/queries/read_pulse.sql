-- The pulse, about once a second from each server: what there is to do, whoever left it. Each part is one probe of an index; that of
-- due runs is one for each function.
SELECT EXISTS (SELECT FROM deliveries WHERE due_at <= rotor_now()) OR EXISTS (SELECT FROM waits WHERE unlooked) AS looks,
       EXISTS (SELECT FROM functions, LATERAL (
                   SELECT FROM runs
                   WHERE runs.workspace_id = functions.workspace_id AND function_id = functions.id AND status = 'queued'
                     AND due_at <= rotor_now()
                   ORDER BY due_at  -- so that it is runs_due, and not all runs of the function
                   LIMIT 1) AS due
               WHERE paused_at IS NULL) AS queued,
       EXISTS (SELECT FROM functions WHERE serve_url IS NOT NULL) AS invokes,
       EXISTS (SELECT FROM triggers WHERE cron IS NOT NULL AND next_at <= rotor_now()) AS crons,
       EXISTS (SELECT FROM leases WHERE expires_at <= rotor_now()) AS lost,
       (SELECT extract(epoch FROM min(deadline) - rotor_now())::float8 FROM waits WHERE deadline IS NOT NULL) AS deadline_seconds,
       -- When the next of what is to be done comes due.
       extract(epoch FROM least(
           (SELECT min(due_at) FROM deliveries WHERE due_at > rotor_now()),
           (SELECT min(next_at) FROM triggers WHERE cron IS NOT NULL AND next_at > rotor_now()),
           (SELECT min(soonest.due_at)
            FROM functions, LATERAL (
                SELECT due_at FROM runs
                WHERE runs.workspace_id = functions.workspace_id AND function_id = functions.id AND status = 'queued'
                  AND due_at > rotor_now()
                ORDER BY due_at
                LIMIT 1) AS soonest
            WHERE paused_at IS NULL)
       ) - rotor_now())::float8 AS next_seconds,
       EXISTS (SELECT FROM signals WHERE completed_at <= rotor_now() - interval '1 second' AND run_id IS NOT NULL
                                     AND delivered_at IS NULL)
       OR EXISTS (SELECT FROM runs WHERE cancel_requested_at IS NOT NULL AND ended_at IS NULL AND status IN ('queued', 'waiting'))
           AS unfinished
