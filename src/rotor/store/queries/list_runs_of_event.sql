-- One page of the runs that one event started, newest first, each with the event.
-- $2 status or null, $3 created at or after, $4 and $5 the run before the page or a time, $6 its size and one,
-- $7 the payload bytes after which it is cut short, $8 the event, $9 a function or null. `found` counts the runs before that cut.
-- Called by store.runs and store.events for people. Index: runs_event, events_pkey. Locks: none.
WITH page AS (
    SELECT runs.id, function_id, status, attempt, output, error, parent_run_id, replay_of, cancel_requested_at,
           created_at, started_at, ended_at,
           event_id, events.name AS event_name, events.data AS event_data, events.ts AS event_ts,
           events.accepted_at AS event_accepted_at, events.effective_at AS event_effective_at,
           coalesce(octet_length(output), 0) + coalesce(octet_length(error), 0) + coalesce(octet_length(events.data), 0) AS size
    -- Apart from the order: else the index that has it is read, with all runs of the workspace.
    FROM (SELECT * FROM runs WHERE runs.workspace_id = $1 AND event_id = $8 OFFSET 0) AS runs
    LEFT JOIN events ON events.workspace_id = runs.workspace_id AND events.id = runs.event_id
    WHERE ($2::text IS NULL OR status = $2)
      AND created_at >= coalesce($3::timestamptz, '-infinity')
      AND (created_at, runs.id) < (coalesce($4::timestamptz, 'infinity'), coalesce($5::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
      AND ($9::text IS NULL OR function_id = $9)
    ORDER BY created_at DESC, runs.id DESC
    LIMIT $6
), measured AS (
    SELECT *, sum(size) OVER (ORDER BY created_at DESC, id DESC) - size AS bytes_before, count(*) OVER () AS found
    FROM page
)
SELECT * FROM measured WHERE bytes_before < $7 ORDER BY created_at DESC, id DESC
