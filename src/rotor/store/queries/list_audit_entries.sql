-- A page of $6 entries of the audit log, newest first: before the one at $2 with id $7, of action
-- $3, from $4 to before $5, each NULL for any.
-- Called by store.audit. Index: audit_log_pkey, backwards. Locks: none.
SELECT id, at, actor, key_id, address, action, target
FROM audit_log
WHERE workspace_id = $1 AND ($2::timestamptz IS NULL OR (at, id) < ($2, $7::uuid)) AND ($3::text IS NULL OR action = $3)
  AND ($4::timestamptz IS NULL OR at >= $4) AND ($5::timestamptz IS NULL OR at < $5)
ORDER BY at DESC, id DESC
LIMIT $6
