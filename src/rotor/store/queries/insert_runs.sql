-- Intake, the committer, the matcher and the scheduler: new runs, due at once.
WITH batch AS MATERIALIZED (
    SELECT nextval('commit_group') AS number
)
INSERT INTO runs (id, workspace_id, function_id, event_id, status, due_at, depth, parent_run_id, parent_step_id,
                  parent_step_index, replay_of, changed_group, created_at)
SELECT new.id, new.workspace_id, new.function_id, new.event_id, 'queued', rotor_now(), new.depth, new.parent_run_id,
       new.parent_step_id, new.parent_step_index, new.replay_of, batch.number, rotor_now()
FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::int[], $6::uuid[], $7::text[], $8::int[], $9::uuid[])
     AS new (id, workspace_id, function_id, event_id, depth, parent_run_id, parent_step_id, parent_step_index, replay_of),
     batch
