-- The matcher: batches that have been looked at.
DELETE FROM deliveries WHERE id = ANY ($1::bigint[])
