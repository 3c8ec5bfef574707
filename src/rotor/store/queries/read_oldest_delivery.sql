-- The matcher: since when events may have taken effect that were not looked at yet, here or by another server. Index
-- deliveries_oldest, no locks.
SELECT min(since) FROM deliveries WHERE since IS NOT NULL
