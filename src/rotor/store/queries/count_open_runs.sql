-- How many runs of a workspace are due and wait for their turn, since when the first of them does, and how many run; each count ends
-- at $2.
-- Called by store.figures for people. Index: runs_due, runs_held. Locks: none.
SELECT due.runs AS due, due.since AS due_since, held.runs AS running
FROM (
    SELECT count(*) AS runs, min(due_at) AS since
    FROM (SELECT due_at FROM runs WHERE workspace_id = $1 AND status = 'queued' AND due_at <= rotor_now() LIMIT $2) AS counted
) AS due
CROSS JOIN (
    SELECT count(*) AS runs
    FROM (
        SELECT FROM leases
        CROSS JOIN LATERAL (SELECT FROM runs WHERE runs.lease_id = leases.id AND runs.lease_id IS NOT NULL LIMIT $2) AS held
        WHERE leases.workspace_id = $1
        LIMIT $2
    ) AS counted
) AS held
