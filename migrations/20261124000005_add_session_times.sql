-- Why: who is kicked depends on when a session began, and whether a link is lost on when it was last heard of. No index: a
-- session event changes these columns, and with one on them it could not be a heap-only update any more.
ALTER TABLE devices
    -- The last login.
    ADD COLUMN login_at  timestamptz,
    -- The last heartbeat; NULL where the chat server reports none.
    ADD COLUMN last_seen timestamptz;
