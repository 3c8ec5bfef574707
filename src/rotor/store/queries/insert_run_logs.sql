-- Lines that runs have logged, each behind the last of its run; $8 is how many a run may have, and $9 then says that there were more.
-- Lines of unknown runs and of runs that ended long ago are left out: the pruner would not see them.
-- Called by store.run_logs. Index: runs_pkey, run_logs_pkey. Locks: none; of two servers that add to one log the later is told by the key.
WITH given AS (
    SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::int[], $4::text[], $5::bytea[], $6::text[], $7::int[])
    WITH ORDINALITY AS given (workspace_id, run_id, line, level, message, step_id, step_index, place)
), known AS (
    SELECT runs.workspace_id, runs.id, coalesce(last.position, -1) AS last
    FROM (SELECT DISTINCT workspace_id, run_id FROM given) AS named
    JOIN runs ON runs.workspace_id = named.workspace_id AND runs.id = named.run_id
    LEFT JOIN LATERAL (
        SELECT position FROM run_logs WHERE run_logs.run_id = runs.id ORDER BY position DESC LIMIT 1
    ) AS last ON true
    WHERE runs.ended_at IS NULL OR runs.ended_at > rotor_now() - interval '1 hour'
), placed AS (
    SELECT given.*, known.last + row_number() OVER (PARTITION BY given.run_id ORDER BY given.place) AS position
    FROM given JOIN known ON known.workspace_id = given.workspace_id AND known.id = given.run_id
), written AS (
    INSERT INTO run_logs (run_id, position, workspace_id, line, at, level, message, step_id, step_index)
    SELECT run_id, position, workspace_id, line, rotor_now(),
           CASE WHEN position < $8 THEN level ELSE 'warning' END,
           CASE WHEN position < $8 THEN message ELSE $9::bytea END,
           CASE WHEN position < $8 THEN step_id END,
           CASE WHEN position < $8 AND step_id IS NOT NULL THEN step_index END
    FROM placed WHERE position <= $8
    RETURNING run_id
)
SELECT DISTINCT run_id FROM written
