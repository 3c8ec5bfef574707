-- A link completes its signal: its MAC is kept until the link would have expired, so that it does so once.
-- Called by store.signal_links, in one transaction with complete_signal. Locks: the new row; a second use waits for the first.
INSERT INTO used_signal_links (workspace_id, mac, expires_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING RETURNING 1
