-- Why: a Tencent-style backend signs its state changes with a token that its operator sets, one per app.
CREATE TABLE tencent_callbacks (
    app_id      bigint      PRIMARY KEY REFERENCES apps ON DELETE CASCADE,
    -- The token: AES-256-GCM, bound to the app by its associated data. key_id names the master key.
    sealed      bytea       NOT NULL,
    key_id      text        NOT NULL,
    fingerprint text        NOT NULL,
    revision    bigint      NOT NULL DEFAULT nextval('directory_revision'),
    updated_at  timestamptz NOT NULL
);
