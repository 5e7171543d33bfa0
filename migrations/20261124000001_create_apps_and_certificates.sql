-- Why: the operator's side of the model. Small tables, cached whole by every instance.

-- Rises with every write to apps, certificates and API keys, so that caches can tell old from new.
CREATE SEQUENCE directory_revision;

CREATE TABLE apps (
    app_id     bigint      PRIMARY KEY CHECK (app_id BETWEEN 1 AND 9007199254740991),
    name       text        NOT NULL CHECK (octet_length(name) BETWEEN 1 AND 128),
    settings   jsonb       NOT NULL,
    revision   bigint      NOT NULL DEFAULT nextval('directory_revision'),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);

CREATE SEQUENCE certificate_ids START 10001;

CREATE TABLE certificates (
    -- Unique in the server, not only in the app: the client application ships with the bare number.
    certificate_id bigint      PRIMARY KEY CHECK (certificate_id BETWEEN 1 AND 9007199254740991),
    app_id         bigint      NOT NULL REFERENCES apps,
    vendor         text        NOT NULL CHECK (vendor IN
                       ('apns','xiaomi','huawei','harmony','honor','meizu','vivo','oppo','fcm')),
    name           text        NOT NULL CHECK (octet_length(name) <= 128),
    package_name   text        NOT NULL CHECK (octet_length(package_name) BETWEEN 1 AND 128),
    -- What identifies the account at the vendor and is no secret (AppID, region, ...).
    identifiers    jsonb       NOT NULL,
    -- The secrets: AES-256-GCM with the certificate id as associated data. key_id names the master key.
    sealed         bytea       NOT NULL,
    key_id         text        NOT NULL,
    fingerprint    text        NOT NULL,
    defaults       jsonb       NOT NULL,
    rate_limit     integer     CHECK (rate_limit BETWEEN 1 AND 100000),
    state          text        NOT NULL CHECK (state IN ('active','paused','refused')),
    state_reason   text,
    state_since    timestamptz NOT NULL,
    revision       bigint      NOT NULL DEFAULT nextval('directory_revision'),
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL
);
CREATE INDEX certificates_app ON certificates (app_id, certificate_id);

-- A message class of a certificate whose daily quota is spent. Rows past `held_until` are history.
CREATE TABLE certificate_holds (
    certificate_id bigint      NOT NULL REFERENCES certificates ON DELETE CASCADE,
    message_class  text        NOT NULL CHECK (octet_length(message_class) <= 128),
    held_until     timestamptz NOT NULL,
    vendor_code    text,
    PRIMARY KEY (certificate_id, message_class)
);

CREATE TABLE api_keys (
    key_id       uuid        PRIMARY KEY,
    name         text        NOT NULL CHECK (octet_length(name) BETWEEN 1 AND 128),
    scope        text        NOT NULL CHECK (scope IN ('chat','viewer','admin')),
    -- NULL: every app. A chat key always has one.
    app_id       bigint      REFERENCES apps,
    key_hash     bytea       NOT NULL UNIQUE CHECK (octet_length(key_hash) = 32),
    created_at   timestamptz NOT NULL,
    last_used_at timestamptz,
    revoked_at   timestamptz,
    revision     bigint      NOT NULL DEFAULT nextval('directory_revision'),
    CHECK (scope <> 'chat' OR app_id IS NOT NULL)
);

CREATE TABLE audit_events (
    audit_id   uuid        PRIMARY KEY,
    at         timestamptz NOT NULL,
    -- The API key that did it; NULL: the server itself or its command line.
    key_id     uuid,
    actor      text        NOT NULL,
    action     text        NOT NULL,
    app_id     bigint,
    object     text        NOT NULL,
    -- What changed; secrets are only ever named, never shown.
    detail     jsonb       NOT NULL
);
CREATE INDEX audit_events_app ON audit_events (app_id, audit_id);

-- Answers kept for the Idempotency-Key header of writes that have no natural key.
CREATE TABLE idempotency_keys (
    caller       uuid        NOT NULL,
    key          text        NOT NULL CHECK (octet_length(key) BETWEEN 1 AND 128),
    request_hash bytea       NOT NULL,
    status       integer     NOT NULL,
    answer       jsonb       NOT NULL,
    created_at   timestamptz NOT NULL,
    PRIMARY KEY (caller, key)
);
