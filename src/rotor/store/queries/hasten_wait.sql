-- A sleep, or a step between two tries ($3, $4), of a run of the workspace comes due now; nothing where it does not wait so.
-- Called by store.waking. Index: runs_pkey, waits_pkey, steps_pkey. Locks: the run's row.
WITH run AS (
    SELECT id FROM runs WHERE workspace_id = $1 AND id = $2 FOR UPDATE
), hastened AS (
    UPDATE waits SET deadline = rotor_now() FROM run
    WHERE waits.run_id = $2 AND waits.step_id = $3 AND waits.step_index = $4
      AND waits.topic IS NULL AND waits.deadline > rotor_now()
    RETURNING waits.run_id
)
UPDATE steps SET deadline = rotor_now() FROM hastened
WHERE steps.run_id = $2 AND steps.id = $3 AND steps.index = $4
RETURNING 1
