-- The matcher, once a path is committed: from here on every event of the name is indexed under it. The wall clock, which whoever did
-- not see the path began before.
UPDATE event_paths SET indexed_from = clock_timestamp() + (rotor_now() - now())
WHERE workspace_id = $1 AND name = $2 AND path = $3 AND indexed_from = 'infinity'
