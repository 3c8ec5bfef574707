-- The one clock.
-- Called by store.functions, from which crons count, and by whoever else wants the time. Locks: none.
SELECT rotor_now()
