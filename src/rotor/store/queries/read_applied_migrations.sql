-- The numbers of the migrations that this schema has.
-- Called by store.readiness. Locks: none.
SELECT applied, compatible_from FROM migrations
