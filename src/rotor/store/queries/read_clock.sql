-- The one clock.
-- Called by store.functions, from which crons count. Locks: none.
SELECT rotor_now()
