-- Why: what is told out of order has to come to the same as in order. A disconnect may be told before the login it ends, and
-- an old unread count after a newer one. No index, as with the other times of sessions.
ALTER TABLE devices
    -- The newest disconnect that was told while nobody was logged in.
    ADD COLUMN disconnected_at timestamptz,
    -- When `unread` was told, or began anew.
    ADD COLUMN unread_at       timestamptz;
