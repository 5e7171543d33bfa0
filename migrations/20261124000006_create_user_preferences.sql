-- Why: what users wish for themselves is read in the routing statement, by one index probe each.
CREATE TABLE user_preferences (
    app_id      bigint      NOT NULL,
    user_id     text        NOT NULL CHECK (octet_length(user_id) BETWEEN 1 AND 128),
    -- One JSON text that the database never looks into.
    preferences text        NOT NULL CHECK (octet_length(preferences) <= 131072),
    updated_at  timestamptz NOT NULL,
    PRIMARY KEY (app_id, user_id)
);

CREATE TABLE conversation_settings (
    app_id          bigint      NOT NULL,
    user_id         text        NOT NULL CHECK (octet_length(user_id) BETWEEN 1 AND 128),
    conversation_id text        NOT NULL CHECK (octet_length(conversation_id) BETWEEN 1 AND 128),
    notify          text        NOT NULL CHECK (notify IN ('all', 'mentions', 'none')),
    -- NULL: until it is changed.
    until           timestamptz,
    updated_at      timestamptz NOT NULL,
    PRIMARY KEY (app_id, user_id, conversation_id)
);

-- What was pushed, for apps that count: by device and conversation for the badge (`since` is then the epoch), by user
-- (device '') and conversation ('': all) in the current window for bursts.
CREATE TABLE push_counts (
    app_id          bigint      NOT NULL,
    user_id         text        NOT NULL,
    device_id       text        NOT NULL,
    conversation_id text        NOT NULL,
    pushes          integer     NOT NULL,
    since           timestamptz NOT NULL,
    PRIMARY KEY (app_id, user_id, device_id, conversation_id)
) WITH (fillfactor = 70);
CREATE INDEX push_counts_since ON push_counts (since) WHERE device_id = '';

-- Which text it shows: NULL its own, 0 none (the user hides contents), else one line for so many messages.
ALTER TABLE deliveries ADD COLUMN text_variant smallint;
