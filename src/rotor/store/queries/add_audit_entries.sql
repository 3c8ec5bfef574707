-- Note what somebody ($2, by key $3, from $4) has done: $5 to each of $6, under the ids $7.
-- Called by store.audit, in the transaction of the act. Index: none. Locks: the new rows.
INSERT INTO audit_log (workspace_id, at, id, actor, key_id, address, action, target)
SELECT $1, rotor_now(), id, $2, $3::uuid, $4, $5, target FROM unnest($6::text[], $7::uuid[]) AS new (target, id)
