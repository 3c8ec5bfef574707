-- The invoker: whether the app has said so. Primary key.
SELECT connection > 0 FROM leases WHERE id = $1
