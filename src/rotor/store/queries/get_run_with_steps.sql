-- One run of a workspace with the event that started it, and its first steps in the order in which they began: a row a step,
-- or one without. $3: those of a run that has not ended, too; $4 is how many at most, $5 the payload bytes after which they
-- are cut short; `followed`: there is another step after this one. The run itself is in the first row alone.
-- Called by store.runs. Index: runs_pkey, events_pkey, steps_pkey. Locks: none.
WITH run AS MATERIALIZED (
    SELECT runs.id AS run_id, function_id AS run_function_id, status AS run_status, attempt AS run_attempt,
           output AS run_output, error AS run_error, parent_run_id AS run_parent_run_id, replay_of AS run_replay_of,
           cancel_requested_at AS run_cancel_requested_at, created_at AS run_created_at, started_at AS run_started_at,
           ended_at AS run_ended_at, event_id AS run_event_id, events.name AS run_event_name,
           events.data AS run_event_data, events.ts AS run_event_ts, versions, versions_since
    FROM runs
    LEFT JOIN events ON events.workspace_id = runs.workspace_id AND events.id = runs.event_id
    -- Not a plain comparison of the workspace: that would let an index be read that has all its runs.
    WHERE runs.id = $2 AND (runs.workspace_id = $1) IS TRUE
), page AS (
    SELECT step.*,
           version_at(versions, versions_since, coalesce(CASE WHEN op IN ('run', 'send_event') THEN ended_at END, started_at))
               AS version,
           coalesce(octet_length(output), 0) + coalesce(octet_length(error), 0) AS size
    FROM run
    LEFT JOIN LATERAL (
        SELECT id, index, op, status, attempts, output, error, child_run_id, event_id, waits_for, deadline, started_at, ended_at
        FROM steps
        WHERE steps.run_id = run.run_id AND (run_ended_at IS NOT NULL OR $3)
        ORDER BY started_at, id, index
        LIMIT $4 + 1
    ) AS step ON true
), measured AS (
    SELECT *, row_number() OVER began AS place, sum(size) OVER began - size AS bytes_before,
           lead(id) OVER began IS NOT NULL AS followed
    FROM page
    WINDOW began AS (ORDER BY started_at, id, index)
)
SELECT run_id, run_function_id, run_status, run_attempt, run_output, run_error, run_parent_run_id, run_replay_of,
       run_cancel_requested_at, run_created_at, run_started_at, run_ended_at, run_event_id, run_event_name, run_event_data, run_event_ts,
       id, index, op, status, attempts, output, error, child_run_id, event_id, waits_for, deadline, started_at, ended_at, version, followed
FROM measured
LEFT JOIN run ON place = 1
WHERE bytes_before < $5
ORDER BY measured.started_at, measured.id, measured.index
LIMIT $4
