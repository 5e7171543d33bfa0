//! The way in: routing and acceptance, one statement each for a whole group of requests.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;
use uuid::Uuid;

use super::array_literal;
use super::devices::{parse_platform, parse_state};
use super::unknown;
use crate::domain::id::{AppId, InstanceId, NotificationId};
use crate::domain::preferences::{Notify, Preferences};
use crate::domain::routing::Candidate;
use crate::domain::session::{BindingStatus, Session};

/// One device of one recipient, as routing sees it.
#[derive(Debug)]
pub struct RoutedDevice {
    /// Index of the recipient in the question.
    pub recipient: usize,
    pub device_id: String,
    pub session: Session,
    pub binding: Option<BindingStatus>,
    pub unread: Option<i32>,
    /// With an active binding only.
    pub certificate_id: Option<i64>,
    pub token: Option<String>,
    /// The user's, as one JSON text.
    pub preferences: Option<String>,
    /// What the user set for the conversation that was asked about.
    pub notify: Option<Notify>,
    /// Something waits in the database for the user: asked for where it might be superseded.
    pub has_waiting: bool,
}

impl RoutedDevice {
    /// As routing sees it.
    pub fn candidate(&self) -> Candidate<'_> {
        Candidate { device_id: &self.device_id, session: self.session, binding: self.binding }
    }

    /// The user's preferences, as they came with the device.
    pub fn preferences(&self) -> Option<Preferences> {
        super::preferences::readable(self.preferences.as_deref()?)
    }
}

/// Whose devices are asked for: one element per recipient.
#[derive(Debug, Default)]
pub struct Question<'a> {
    pub app_ids: Vec<i64>,
    pub user_ids: Vec<&'a str>,
    /// Of the message, for the user's setting.
    pub conversation_ids: Vec<Option<&'a str>>,
    /// Whether the message replaces older ones.
    pub collapses: Vec<bool>,
}

impl<'a> Question<'a> {
    /// Adds one recipient; without more than that, only his devices and preferences are asked for.
    pub fn push(&mut self, app_id: i64, user_id: &'a str, conversation_id: Option<&'a str>, collapses: bool) {
        self.app_ids.push(app_id);
        self.user_ids.push(user_id);
        self.conversation_ids.push(conversation_id);
        self.collapses.push(collapses);
    }
}

/// The devices of each recipient, with the user's preferences; a recipient without devices has no row.
pub async fn route(
    db: impl PgExecutor<'_>,
    question: &Question<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<RoutedDevice>> {
    let rows = sqlx::query!(
        r#"SELECT (r.ordinal - 1)::int AS "recipient!", d.device_id, d.platform, d.session_state, d.event_time, d.last_seen,
               d.binding_status, d.unread,
               CASE WHEN d.binding_status = 'active' THEN d.certificate_id END AS certificate_id,
               CASE WHEN d.binding_status = 'active' THEN d.token END AS token,
               p.preferences AS "preferences?",
               CASE WHEN c.until IS NULL OR c.until > $5 THEN c.notify END AS notify,
               coalesce(r.collapses AND (
                   SELECT true FROM deliveries w WHERE w.owner IS NULL AND w.app_id = r.app_id AND w.user_id = r.user_id LIMIT 1
               ), false) AS "has_waiting!"
           FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bool[]) WITH ORDINALITY
               AS r(app_id, user_id, conversation_id, collapses, ordinal)
           CROSS JOIN LATERAL (
               SELECT * FROM devices x WHERE x.app_id = r.app_id AND x.user_id = r.user_id OFFSET 0) AS d
           LEFT JOIN user_preferences p ON p.app_id = r.app_id AND p.user_id = r.user_id
           LEFT JOIN conversation_settings c
               ON c.app_id = r.app_id AND c.user_id = r.user_id AND c.conversation_id = r.conversation_id"#,
        &question.app_ids,
        &question.user_ids as &[&str],
        &question.conversation_ids as &[Option<&str>],
        &question.collapses,
        now,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|row| {
            let binding = match row.binding_status {
                Some(status) => Some(BindingStatus::parse(&status).ok_or_else(|| unknown("binding status", &status))?),
                None => None,
            };
            Ok(RoutedDevice {
                recipient: usize::try_from(row.recipient).unwrap_or_default(),
                session: Session {
                    platform: parse_platform(&row.platform)?,
                    state: parse_state(&row.session_state)?,
                    event_time: row.event_time,
                    last_seen: row.last_seen,
                },
                device_id: row.device_id,
                binding,
                unread: row.unread,
                certificate_id: row.certificate_id,
                token: row.token,
                preferences: row.preferences,
                notify: row.notify.as_deref().and_then(Notify::parse),
                has_waiting: row.has_waiting,
            })
        })
        .collect()
}

/// The rows of a group of accepted requests, column by column.
#[derive(Debug, Default)]
pub struct Acceptance {
    pub messages: Messages,
    pub deliveries: NewDeliveries,
    pub skips: Skips,
}

/// One element per request.
#[derive(Debug, Default)]
pub struct Messages {
    pub app_ids: Vec<i64>,
    pub message_ids: Vec<String>,
    pub parts: Vec<i32>,
    pub body_hashes: Vec<Vec<u8>>,
    pub notification_ids: Vec<Uuid>,
    pub deliveries: Vec<i32>,
    pub skipped: Vec<i32>,
    pub contents: Vec<Vec<u8>>,
}

/// One element per delivery.
#[derive(Debug, Default)]
pub struct NewDeliveries {
    pub delivery_ids: Vec<Uuid>,
    pub notification_ids: Vec<Uuid>,
    pub app_ids: Vec<i64>,
    pub certificate_ids: Vec<i64>,
    pub user_ids: Vec<String>,
    pub device_ids: Vec<String>,
    pub tokens: Vec<String>,
    pub due_at: Vec<DateTime<Utc>>,
    pub expires_at: Vec<DateTime<Utc>>,
    pub badges: Vec<Option<i32>>,
    pub owned: Vec<bool>,
    pub priorities: Vec<i16>,
    pub text_variants: Vec<Option<i16>>,
    /// What they replace; `None` for what replaces nothing.
    pub collapses: Vec<Option<i64>>,
}

/// One element per trace row; a row tells of one user, or of several with lists in step.
#[derive(Debug, Default)]
pub struct Skips {
    pub notification_ids: Vec<Uuid>,
    pub app_ids: Vec<i64>,
    user_ids: Vec<String>,
    device_ids: Vec<Option<String>>,
    reasons: Vec<Option<&'static str>>,
    users: Vec<Option<String>>,
    devices: Vec<Option<String>>,
    all_reasons: Vec<Option<String>>,
}

/// One skip: user, device (none: the user has no device), reason.
pub type Skip = (String, Option<String>, &'static str);

/// The most skips in one trace row.
const SKIPS_PER_ROW: usize = 500;

impl Skips {
    /// Adds the skips of one notification: its own row with index columns where it is one user's, else rows with lists.
    pub fn add(&mut self, app_id: i64, notification_id: Uuid, skips: &[Skip]) {
        for chunk in skips.chunks(SKIPS_PER_ROW) {
            self.notification_ids.push(notification_id);
            self.app_ids.push(app_id);
            if let [(user, device, reason)] = chunk {
                self.user_ids.push(user.clone());
                self.device_ids.push(device.clone());
                self.reasons.push(Some(reason));
                self.users.push(None);
                self.devices.push(None);
                self.all_reasons.push(None);
            } else {
                let is_one_user = chunk.iter().all(|skip| skip.0 == chunk[0].0);
                self.user_ids.push(if is_one_user { chunk[0].0.clone() } else { String::new() });
                self.device_ids.push(None);
                self.reasons.push(None);
                self.users.push(Some(array_literal(chunk.iter().map(|skip| skip.0.as_str()))));
                self.devices.push(Some(array_literal(chunk.iter().map(|skip| skip.1.as_deref().unwrap_or_default()))));
                self.all_reasons.push(Some(array_literal(chunk.iter().map(|skip| skip.2))));
            }
        }
    }
}

/// What a group's commit came to.
#[derive(Debug)]
pub struct Stored {
    /// The notifications that are new; the others' message ids were taken before, and nothing of them is stored.
    pub fresh: Vec<NotificationId>,
    /// Deliveries inserted as owned are; false when this instance had been given up, and they wait unowned.
    pub is_owner: bool,
}

/// Stores a group of requests in one statement, which is its own transaction: committed when it returns.
///
/// Deliveries flagged as owned get `owner`, whose row is locked meanwhile: nobody can give the instance up between the look
/// and the commit, so no row is ever left to an owner that is gone.
///
/// The day is the database's. In the first five minutes of a day the key is also claimed for the day before, so that the
/// primary key settles the race of two instances over midnight.
pub async fn accept(
    db: impl PgExecutor<'_>,
    group: &Acceptance,
    owner: InstanceId,
    now: DateTime<Utc>,
) -> sqlx::Result<Stored> {
    let (m, d, s) = (&group.messages, &group.deliveries, &group.skips);
    let rows = sqlx::query!(
        r#"WITH owner AS MATERIALIZED (SELECT instance_id FROM instances WHERE instance_id = $30 FOR KEY SHARE),
           clock AS MATERIALIZED (
               SELECT (now() AT TIME ZONE 'utc')::date AS day, (now() AT TIME ZONE 'utc')::time < '00:05' AS is_early),
           wanted AS MATERIALIZED (
               SELECT * FROM unnest($1::bigint[], $2::text[], $3::int[], $4::bytea[], $5::uuid[], $6::int[], $7::int[], $8::bytea[])
                   AS w(app_id, message_id, part, body_hash, notification_id, deliveries, skipped, content)),
           yesterdays AS (
               INSERT INTO message_keys (day, app_id, message_id, part, body_hash, notification_id, deliveries, skipped)
               SELECT c.day - 1, w.app_id, w.message_id, w.part, w.body_hash, w.notification_id, w.deliveries, w.skipped
               FROM wanted w, clock c
               WHERE c.is_early
                 AND NOT EXISTS (SELECT FROM message_keys k
                                 WHERE k.day = (SELECT day - 2 FROM clock) AND k.app_id = w.app_id
                                   AND k.message_id = w.message_id AND k.part = w.part)
               ON CONFLICT DO NOTHING RETURNING notification_id),
           fresh AS (
               INSERT INTO message_keys (day, app_id, message_id, part, body_hash, notification_id, deliveries, skipped)
               SELECT c.day, w.app_id, w.message_id, w.part, w.body_hash, w.notification_id, w.deliveries, w.skipped
               FROM wanted w, clock c
               WHERE ((NOT c.is_early OR w.notification_id IN (SELECT y.notification_id FROM yesterdays y)) IS TRUE)
                 AND NOT EXISTS (SELECT FROM message_keys k
                                 WHERE k.day = (SELECT day - 1 FROM clock) AND k.app_id = w.app_id
                                   AND k.message_id = w.message_id AND k.part = w.part)
                 AND NOT EXISTS (SELECT FROM message_keys k
                                 WHERE k.day = (SELECT day - 2 FROM clock) AND k.app_id = w.app_id
                                   AND k.message_id = w.message_id AND k.part = w.part)
               ON CONFLICT DO NOTHING RETURNING notification_id),
           contents AS (
               INSERT INTO notification_contents (notification_id, app_id, content)
               SELECT w.notification_id, w.app_id, w.content FROM wanted w
               WHERE octet_length(w.content) > 0 AND ((w.notification_id IN (SELECT f.notification_id FROM fresh f)) IS TRUE)),
           queued AS (
               INSERT INTO deliveries (delivery_id, app_id, certificate_id, user_id, device_id, token, due_at, expires_at, badge,
                                       owner, priority, text_variant, collapse)
               SELECT n.delivery_id, n.app_id, n.certificate_id, n.user_id, n.device_id, n.token, n.due_at, n.expires_at, n.badge,
                   CASE WHEN n.owned THEN (SELECT o.instance_id FROM owner o) END, n.priority,
                   n.text_variant, n.collapse
               FROM unnest($9::uuid[], $10::uuid[], $11::bigint[], $12::bigint[], $13::text[], $14::text[], $15::text[],
                           $16::timestamptz[], $17::timestamptz[], $18::int[], $19::bool[], $20::smallint[], $31::smallint[],
                           $32::bigint[])
                   AS n(delivery_id, notification_id, app_id, certificate_id, user_id, device_id, token, due_at, expires_at,
                        badge, owned, priority, text_variant, collapse)
               WHERE (n.notification_id IN (SELECT f.notification_id FROM fresh f)) IS TRUE),
           skips AS (
               INSERT INTO delivery_events (at, delivery_id, app_id, user_id, device_id, kind, reason, final,
                                            skipped_users, skipped_devices, skipped_reasons)
               SELECT $21, k.notification_id, k.app_id, k.user_id, k.device_id, 'skipped', k.reason, true,
                   k.users::text[], k.devices::text[], k.reasons::text[]
               FROM unnest($22::uuid[], $23::bigint[], $24::text[], $25::text[], $26::text[], $27::text[], $28::text[], $29::text[])
                   AS k(notification_id, app_id, user_id, device_id, reason, users, devices, reasons)
               WHERE (k.notification_id IN (SELECT f.notification_id FROM fresh f)) IS TRUE)
           SELECT notification_id, EXISTS (SELECT FROM owner) AS "is_owner!" FROM fresh"#,
        &m.app_ids,
        &m.message_ids,
        &m.parts,
        &m.body_hashes,
        &m.notification_ids,
        &m.deliveries,
        &m.skipped,
        &m.contents,
        &d.delivery_ids,
        &d.notification_ids,
        &d.app_ids,
        &d.certificate_ids,
        &d.user_ids,
        &d.device_ids,
        &d.tokens,
        &d.due_at,
        &d.expires_at,
        &d.badges as &[Option<i32>],
        &d.owned,
        &d.priorities,
        now,
        &s.notification_ids,
        &s.app_ids,
        &s.user_ids,
        &s.device_ids as &[Option<String>],
        &s.reasons as &[Option<&str>],
        &s.users as &[Option<String>],
        &s.devices as &[Option<String>],
        &s.all_reasons as &[Option<String>],
        owner.0,
        &d.text_variants as &[Option<i16>],
        &d.collapses as &[Option<i64>],
    )
    .fetch_all(db)
    .await?;
    let is_owner = rows.first().is_some_and(|row| row.is_owner);
    Ok(Stored { fresh: rows.into_iter().map(|row| NotificationId(row.notification_id)).collect(), is_owner })
}

/// What a message id became the first time.
#[derive(Debug, Clone)]
pub struct Known {
    pub notification_id: NotificationId,
    pub body_hash: Vec<u8>,
    pub deliveries: i32,
    pub skipped: i32,
}

/// Looks a message id up in the dedupe window.
pub async fn find(db: impl PgExecutor<'_>, app_id: AppId, message_id: &str, part: i32) -> sqlx::Result<Option<Known>> {
    let row = sqlx::query!(
        "SELECT notification_id, body_hash, deliveries, skipped FROM message_keys
         WHERE day = ANY (ARRAY[(now() AT TIME ZONE 'utc')::date, (now() AT TIME ZONE 'utc')::date - 1,
                             (now() AT TIME ZONE 'utc')::date - 2])
           AND app_id = $1 AND message_id = $2 AND part = $3
         ORDER BY day DESC LIMIT 1",
        app_id.0,
        message_id,
        part,
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| Known {
        notification_id: NotificationId(row.notification_id),
        body_hash: row.body_hash,
        deliveries: row.deliveries,
        skipped: row.skipped,
    }))
}

/// Which of these messages were accepted within the time of their keys, in the order asked.
pub async fn are_known(
    db: impl PgExecutor<'_>,
    app_ids: &[i64],
    message_ids: &[&str],
    parts: &[i32],
) -> sqlx::Result<Vec<bool>> {
    sqlx::query_scalar!(
        r#"SELECT coalesce((SELECT true FROM message_keys k
                            WHERE k.day = ANY (ARRAY[(now() AT TIME ZONE 'utc')::date, (now() AT TIME ZONE 'utc')::date - 1,
                                                     (now() AT TIME ZONE 'utc')::date - 2])
                              AND k.app_id = m.app_id AND k.message_id = m.message_id AND k.part = m.part
                            LIMIT 1), false) AS "is_known!"
           FROM unnest($1::bigint[], $2::text[], $3::int[]) WITH ORDINALITY AS m(app_id, message_id, part, number)
           ORDER BY m.number"#,
        app_ids,
        message_ids as &[&str],
        parts,
    )
    .fetch_all(db)
    .await
}

/// The parts of a message: every notification its id became, in the dedupe window.
pub async fn find_all_parts(
    db: impl PgExecutor<'_>,
    app_id: AppId,
    message_id: &str,
    limit: i64,
) -> sqlx::Result<Vec<NotificationId>> {
    let ids = sqlx::query_scalar!(
        "SELECT DISTINCT notification_id FROM message_keys
         WHERE day = ANY (ARRAY[(now() AT TIME ZONE 'utc')::date, (now() AT TIME ZONE 'utc')::date - 1,
                             (now() AT TIME ZONE 'utc')::date - 2])
           AND app_id = $1 AND message_id = $2 LIMIT $3",
        app_id.0,
        message_id,
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(ids.into_iter().map(NotificationId).collect())
}

/// Reads stored contents: from their partition, or from the side table of those that waited long.
pub async fn contents(db: impl PgExecutor<'_>, ids: &[Uuid]) -> sqlx::Result<Vec<(NotificationId, AppId, Vec<u8>)>> {
    let rows = sqlx::query!(
        r#"SELECT notification_id AS "notification_id!", app_id AS "app_id!", content AS "content!"
           FROM notification_contents WHERE notification_id = ANY ($1)
           UNION ALL
           SELECT notification_id, app_id, content FROM kept_contents WHERE notification_id = ANY ($1)"#,
        ids,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (NotificationId(row.notification_id), AppId(row.app_id), row.content)).collect())
}
