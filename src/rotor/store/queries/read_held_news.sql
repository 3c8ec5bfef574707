-- The pulse: of runs held at this server ($1), those that another server has cancelled or settled a wait of since their
-- holder was told of $2 settled waits. Primary key look-ups.
SELECT runs.id, runs.lease_id, runs.settled, runs.cancel_requested_at IS NOT NULL AS cancelling, runs.settled <> held.told AS news
FROM unnest($1::uuid[], $2::int[]) AS held (id, told)
JOIN runs USING (id)
WHERE runs.status = 'running' AND (runs.settled <> held.told OR runs.cancel_requested_at IS NOT NULL)
