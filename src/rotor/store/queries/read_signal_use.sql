-- Whether a link ($3) has been used, or its signal ($2) completed in any way. Primary key look-ups, no locks.
SELECT EXISTS (SELECT FROM used_signal_links WHERE workspace_id = $1 AND mac = $3)
    OR EXISTS (SELECT FROM signals
               WHERE workspace_id = $1 AND id = $2 AND completed_at IS NOT NULL
                 AND (expires_at IS NULL OR expires_at > rotor_now()))
