-- Why: one row per device holds its session and its binding, so that routing a user is one index probe.
CREATE TABLE devices (
    app_id           bigint      NOT NULL,
    user_id          text        NOT NULL CHECK (octet_length(user_id) BETWEEN 1 AND 128),
    device_id        text        NOT NULL CHECK (octet_length(device_id) BETWEEN 1 AND 128),
    platform         text        NOT NULL CHECK (platform IN
                         ('ios','ipados','android','harmony','web','windows','mac','linux')),
    session_state    text        NOT NULL CHECK (session_state IN
                         ('foreground','background','killed','logged_out','kicked','expired')),
    -- The event time of the last applied event, and the login it belongs to.
    event_time       timestamptz NOT NULL,
    login_seq        bigint,
    unread           integer     CHECK (unread >= 0),
    -- The binding. All NULL until the first token report.
    certificate_id   bigint,
    vendor           text,
    token            text        CHECK (octet_length(token) BETWEEN 1 AND 1024),
    token_digest     bytea       CHECK (octet_length(token_digest) = 16),
    reported_at      timestamptz,
    binding_status   text        CHECK (binding_status IN
                         ('active','pending','muted','detached','superseded','invalid','stale')),
    PRIMARY KEY (app_id, user_id, device_id),
    CHECK ((binding_status IS NULL) = (token IS NULL)),
    CHECK ((token IS NULL) = (certificate_id IS NULL)),
    CHECK ((token IS NULL) = (vendor IS NULL)),
    CHECK ((token IS NULL) = (token_digest IS NULL)),
    CHECK ((token IS NULL) = (reported_at IS NULL))
) WITH (fillfactor = 80);

-- A live token serves one device of an app, across the certificates of a vendor.
CREATE UNIQUE INDEX devices_live_token ON devices (app_id, vendor, token_digest)
    WHERE binding_status IN ('active','muted');
-- Account switch: who else was signed in on this phone.
-- The device id leads: led by the app it would tempt the planner to read a whole app.
CREATE INDEX devices_by_device ON devices (device_id, app_id);
