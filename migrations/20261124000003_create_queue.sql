-- Why: the durable queue and its history (docs/architecture.md, "The queue").

-- Which notification a message id became; the 48-hour dedupe window. Partitioned by day.
CREATE TABLE message_keys (
    day             date     NOT NULL,
    app_id          bigint   NOT NULL,
    message_id      text     NOT NULL,
    part            integer  NOT NULL CHECK (part BETWEEN 0 AND 65535),
    body_hash       bytea    NOT NULL,
    notification_id uuid     NOT NULL,
    deliveries      integer  NOT NULL,
    skipped         integer  NOT NULL,
    PRIMARY KEY (day, app_id, message_id, part)
) PARTITION BY RANGE (day);

-- Title, body, data and options as one JSON text that the database never looks into. Written once.
-- Partitioned by the hour of the time-ordered id.
CREATE TABLE notification_contents (
    notification_id uuid   NOT NULL,
    app_id          bigint NOT NULL,
    content         bytea  NOT NULL,
    PRIMARY KEY (notification_id)
) PARTITION BY RANGE (notification_id);

-- Contents of deliveries that wait longer than their hour's partition is kept.
CREATE TABLE kept_contents (
    notification_id uuid        PRIMARY KEY,
    app_id          bigint      NOT NULL,
    content         bytea       NOT NULL,
    kept_at         timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE instances (
    instance_id  integer     GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    started_at   timestamptz NOT NULL DEFAULT now(),
    heartbeat_at timestamptz NOT NULL DEFAULT now(),
    host         text        NOT NULL
);

-- One row per waiting delivery; deleted when it ends. The ids of a notification's deliveries follow its own
-- (notification id + 1, + 2, ...), so the primary key also finds them by notification.
CREATE TABLE deliveries (
    delivery_id    uuid        PRIMARY KEY,
    app_id         bigint      NOT NULL,
    certificate_id bigint      NOT NULL,
    user_id        text        NOT NULL,
    device_id      text        NOT NULL,
    token          text        NOT NULL,
    due_at         timestamptz NOT NULL,
    expires_at     timestamptz NOT NULL,
    badge          integer,
    -- The instance that holds it in memory; NULL: anyone may claim it when due.
    owner          integer,
    attempts       smallint    NOT NULL DEFAULT 0,
    -- 0 high, 1 normal.
    priority       smallint    NOT NULL CHECK (priority IN (0, 1))
) WITH (fillfactor = 90, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 50000,
        autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 200000);
-- Unowned rows only: the hot path inserts owned rows and pays for the primary key alone.
CREATE INDEX deliveries_due ON deliveries (certificate_id, priority, due_at) WHERE owner IS NULL;
CREATE INDEX deliveries_expiry ON deliveries (expires_at) WHERE owner IS NULL;
CREATE INDEX deliveries_user ON deliveries (app_id, user_id) WHERE owner IS NULL;

-- The trace, append only. `delivery_id` is the notification's own id where an event concerns it as a whole.
CREATE TABLE delivery_events (
    at                timestamptz NOT NULL,
    delivery_id       uuid        NOT NULL,
    app_id            bigint      NOT NULL,
    -- '' where the event concerns several users.
    user_id           text        NOT NULL,
    device_id         text,
    certificate_id    bigint,
    kind              text        NOT NULL,
    -- Why: a vendor reason, a skip reason or a cancel reason, by kind.
    reason            text,
    vendor_code       text,
    vendor_message_id text,
    latency_ms        integer,
    attempt           smallint,
    -- Masked token, when it is due again, what was cut from the text, hints: one JSON text.
    detail            text,
    -- Recorded by an instance that no longer owned the delivery.
    duplicate         boolean     NOT NULL DEFAULT false,
    -- A final event: the delivery's one outcome.
    final             boolean     NOT NULL,
    skipped_users     text[],
    skipped_devices   text[],
    skipped_reasons   text[]
) PARTITION BY RANGE (at);
CREATE INDEX delivery_events_delivery ON delivery_events (delivery_id);
CREATE INDEX delivery_events_user ON delivery_events (app_id, user_id, at);

-- The last five hex digits of a delivery's id are its number within the notification.
CREATE FUNCTION notification_of(delivery_id uuid) RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (left(delivery_id::text, 31) || '00000')::uuid;
CREATE FUNCTION last_delivery_of(notification_id uuid) RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (left(notification_id::text, 31) || 'fffff')::uuid;

-- Partitions are made ahead and dropped by age by the server itself. Their names and bounds are data, so the statements
-- are built here, where format() quotes them.
CREATE FUNCTION make_partition(parent text, partition text, lower_bound text, upper_bound text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF to_regclass(partition) IS NULL THEN
        -- Made apart and attached: PARTITION OF would lock the parent against every reader and writer.
        EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', partition, parent);
        EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                       parent, partition, lower_bound, upper_bound);
    END IF;
END $$;

CREATE FUNCTION drop_partition(partition text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_inherits WHERE inhrelid = to_regclass(partition)) THEN
        EXECUTE format('DROP TABLE %I', partition);
    END IF;
END $$;
