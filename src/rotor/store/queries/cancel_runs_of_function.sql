-- Ask for the cancellation of the open runs of a function, at most $3 of them; the canceller ends each.
-- Called by store.functions as a function is deleted, until none is left. Index: runs_function, runs_pkey.
-- Locks: the rows, in the order of their ids as everyone who locks several runs does.
WITH open_runs AS (
    SELECT id
    FROM runs
    WHERE workspace_id = $1 AND function_id = $2 AND ended_at IS NULL AND cancel_requested_at IS NULL
    ORDER BY created_at DESC, id DESC  -- as its index has them, and no other
    LIMIT $3
), locked AS (
    SELECT id FROM runs WHERE id IN (SELECT id FROM open_runs) ORDER BY id FOR UPDATE
)
UPDATE runs
SET cancel_requested_at = rotor_now()
FROM locked
WHERE runs.id = locked.id AND ended_at IS NULL AND cancel_requested_at IS NULL
RETURNING runs.id
