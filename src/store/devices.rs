//! Table `devices`: sessions and bindings.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor};

use super::{crowded, unknown};
use crate::domain::certificate::VendorKind;
use crate::domain::id::{AppId, CertificateId};
use crate::domain::session::{Binding, BindingStatus, Device, Platform, SessionState};
use crate::secrets::{sha256, token_digest};

/// The index that keeps a live token with one device.
pub const LIVE_TOKEN: &str = "devices_live_token";

/// How often rows are made that others forget before they can be held.
const MAKES: u32 = 5;

struct Row {
    user_id: String,
    device_id: String,
    platform: String,
    session_state: String,
    event_time: DateTime<Utc>,
    login_seq: Option<i64>,
    login_at: Option<DateTime<Utc>>,
    last_seen: Option<DateTime<Utc>>,
    disconnected_at: Option<DateTime<Utc>>,
    unread: Option<i32>,
    unread_at: Option<DateTime<Utc>>,
    certificate_id: Option<i64>,
    vendor: Option<String>,
    token: Option<String>,
    reported_at: Option<DateTime<Utc>>,
    binding_status: Option<String>,
}

impl TryFrom<Row> for Device {
    type Error = sqlx::Error;
    fn try_from(row: Row) -> sqlx::Result<Self> {
        let binding = match (row.certificate_id, row.vendor, row.token, row.reported_at, row.binding_status) {
            (Some(certificate_id), Some(vendor), Some(token), Some(reported_at), Some(status)) => Some(Binding {
                certificate_id: CertificateId(certificate_id),
                vendor: VendorKind::parse(&vendor).ok_or_else(|| unknown("vendor", &vendor))?,
                token,
                reported_at,
                status: BindingStatus::parse(&status).ok_or_else(|| unknown("binding status", &status))?,
            }),
            _ => None,
        };
        Ok(Self {
            user_id: row.user_id,
            device_id: row.device_id,
            platform: parse_platform(&row.platform)?,
            state: parse_state(&row.session_state)?,
            event_time: row.event_time,
            login_seq: row.login_seq,
            login_at: row.login_at,
            last_seen: row.last_seen,
            disconnected_at: row.disconnected_at,
            unread: row.unread,
            unread_at: row.unread_at,
            binding,
        })
    }
}

pub(super) fn parse_platform(name: &str) -> sqlx::Result<Platform> {
    Platform::parse(name).ok_or_else(|| unknown("platform", name))
}

pub(super) fn parse_state(name: &str) -> sqlx::Result<SessionState> {
    SessionState::parse(name).ok_or_else(|| unknown("session state", name))
}

/// So many turns there are for all names: more locks than a few transactions take would not fit into Postgres's table.
const TURNS: i64 = 512;
/// Apart from other advisory locks.
const FIRST_TURN: i64 = 7_020_000;

/// What a batch of events or token reports may touch.
#[derive(Debug, Default)]
pub struct Touched {
    /// The devices named: user, device, platform, and whether the row is to be made when there is none.
    pub devices: Vec<(String, String, Platform, bool)>,
    /// Users all of whose devices are touched.
    pub users: Vec<String>,
    /// Device ids that change hands when somebody logs in on them, and when that happened.
    pub logins: Vec<(String, DateTime<Utc>)>,
    /// Users of whose changes only one at a time may be decided: each concerns several of their sessions.
    pub one_at_a_time: Vec<String>,
    /// Tokens reported.
    pub tokens: Vec<(VendorKind, String)>,
}

impl Touched {
    /// What has to be held before rows are looked at, since the rows of another transaction are not seen before it ends: two
    /// users who log in on one device, two logins of a user whose sessions are limited, a login of a user who is deleted.
    fn turns(&self, app_id: AppId) -> Vec<i64> {
        let key = |kind: &str, name: &str| {
            let digest = sha256(format!("{}/{kind}/{name}", app_id.0).as_bytes());
            let mut first = [0; 8];
            first.copy_from_slice(&digest[..8]);
            FIRST_TURN + i64::from_be_bytes(first).rem_euclid(TURNS)
        };
        let devices = self.logins.iter().map(|(device_id, _)| key("device", device_id));
        let users = self.one_at_a_time.iter().map(|user_id| key("user", user_id));
        let mut turns: Vec<i64> = devices.chain(users).collect();
        turns.sort_unstable();
        turns.dedup();
        turns
    }
}

/// Loads every row the batch may touch, and holds them against other writers until the transaction ends. Rows that are to
/// be made are made first, so that two first events of one device wait for each other too. Holders of a token count as
/// touched: of those reported, and of those a login would revive. So does who logged in later on a device.
/// # Errors
/// Database errors, and a transient one when others forget the rows as often as they are made.
pub async fn lock_touched(db: &mut PgConnection, app_id: AppId, touched: &Touched) -> sqlx::Result<Vec<Device>> {
    for _ in 0..MAKES {
        let rows = make_and_lock(&mut *db, app_id, touched).await?;
        let held: HashSet<_> = rows.iter().map(|row| (&row.user_id, &row.device_id)).collect();
        // One that was there, and so not made, may have been forgotten before it could be held: its user was deleted.
        if touched.devices.iter().all(|(user, device, _, is_made)| !is_made || held.contains(&(user, device))) {
            return Ok(rows);
        }
    }
    Err(crowded())
}

async fn make_and_lock(db: &mut PgConnection, app_id: AppId, touched: &Touched) -> sqlx::Result<Vec<Device>> {
    let users: Vec<&str> = touched.devices.iter().map(|d| d.0.as_str()).collect();
    let devices: Vec<&str> = touched.devices.iter().map(|d| d.1.as_str()).collect();
    let (new_users, new_devices, new_platforms): (Vec<_>, Vec<_>, Vec<_>) = touched
        .devices
        .iter()
        .filter(|(_, _, _, is_made)| *is_made)
        .map(|(user, device, platform, _)| (user.as_str(), device.as_str(), platform.as_str()))
        .collect();
    let turns = touched.turns(app_id);
    if !new_users.is_empty() {
        sqlx::query!(
            "WITH turns AS MATERIALIZED (
                 SELECT count(*) FROM (SELECT pg_advisory_xact_lock(k) FROM unnest($5::bigint[]) AS t(k) OFFSET 0) AS taken)
             INSERT INTO devices (app_id, user_id, device_id, platform, session_state, event_time)
             SELECT DISTINCT ON (n.user_id, n.device_id) $1, n.user_id, n.device_id, n.platform, 'logged_out', 'epoch'::timestamptz
             FROM turns, unnest($2::text[], $3::text[], $4::text[]) AS n(user_id, device_id, platform)
             WHERE NOT EXISTS (SELECT FROM devices d
                               WHERE d.app_id = $1 AND d.user_id = n.user_id AND d.device_id = n.device_id)
             ORDER BY n.user_id, n.device_id
             ON CONFLICT DO NOTHING",
            app_id.0,
            &new_users as &[&str],
            &new_devices as &[&str],
            &new_platforms as &[&str],
            &turns,
        )
        .execute(&mut *db)
        .await?;
    } else if !turns.is_empty() {
        sqlx::query!(
            "SELECT count(*) FROM (SELECT pg_advisory_xact_lock(k) FROM unnest($1::bigint[]) AS t(k) OFFSET 0) AS taken",
            &turns,
        )
        .fetch_one(&mut *db)
        .await?;
    }
    let vendors: Vec<&str> = touched.tokens.iter().map(|(vendor, _)| vendor.as_str()).collect();
    let digests: Vec<Vec<u8>> = touched.tokens.iter().map(|(_, token)| token_digest(token).to_vec()).collect();
    sqlx::query_as!(
        Row,
        "SELECT d.user_id, d.device_id, d.platform, d.session_state, d.event_time, d.login_seq, d.login_at, d.last_seen,
             d.disconnected_at, d.unread, d.unread_at, d.certificate_id, d.vendor, d.token, d.reported_at, d.binding_status
         FROM (SELECT t.user_id, t.device_id FROM unnest($2::text[], $3::text[]) AS t(user_id, device_id)
               UNION
               SELECT o.user_id, o.device_id FROM unnest($4::text[], $8::timestamptz[]) AS l(device_id, login_at)
                   CROSS JOIN LATERAL (
                       SELECT x.user_id, x.device_id FROM devices x
                       WHERE x.device_id = l.device_id AND x.app_id = $1
                         AND (x.session_state IN ('foreground', 'background', 'killed') OR x.login_at > l.login_at)
                       OFFSET 0) AS o
               UNION
               SELECT o.user_id, o.device_id FROM unnest($2::text[], $3::text[]) AS t(user_id, device_id)
                   CROSS JOIN LATERAL (
                       SELECT x.vendor, x.token_digest FROM devices x
                       WHERE x.app_id = $1 AND x.user_id = t.user_id AND x.device_id = t.device_id
                         AND x.binding_status IN ('pending', 'stale')
                       OFFSET 0) AS m
                   CROSS JOIN LATERAL (
                       SELECT x.user_id, x.device_id FROM devices x
                       WHERE x.app_id = $1 AND x.vendor = m.vendor AND x.token_digest = m.token_digest
                         AND x.binding_status IN ('active', 'muted')
                       OFFSET 0) AS o
               UNION
               SELECT o.user_id, o.device_id FROM unnest($7::text[]) AS w(user_id)
                   CROSS JOIN LATERAL (
                       SELECT x.user_id, x.device_id FROM devices x WHERE x.app_id = $1 AND x.user_id = w.user_id OFFSET 0) AS o
               UNION
               SELECT o.user_id, o.device_id FROM unnest($5::text[], $6::bytea[]) AS k(vendor, digest)
                   CROSS JOIN LATERAL (
                       SELECT x.user_id, x.device_id FROM devices x
                       WHERE x.app_id = $1 AND x.vendor = k.vendor AND x.token_digest = k.digest
                         AND x.binding_status IN ('active', 'muted')
                       OFFSET 0) AS o
               ORDER BY 1, 2) AS keys
         CROSS JOIN LATERAL (
             SELECT x.* FROM devices x
             WHERE x.app_id = $1 AND x.user_id = keys.user_id AND x.device_id = keys.device_id
             FOR UPDATE) AS d",
        app_id.0,
        &users as &[&str],
        &devices as &[&str],
        &touched.logins.iter().map(|(device_id, _)| device_id.as_str()).collect::<Vec<_>>() as &[&str],
        &vendors as &[&str],
        &digests,
        &touched.users,
        &touched.logins.iter().map(|(_, login_at)| *login_at).collect::<Vec<_>>(),
    )
    .fetch_all(db)
    .await?
    .into_iter()
    .map(Device::try_from)
    .collect()
}

/// Writes rows back that the same transaction holds, in one statement: those that lose a live token before those that gain one, as the unique index wants it.
/// # Errors
/// A violation of [`LIVE_TOKEN`] when a token's holder was not among the rows locked.
pub async fn write_back<'a>(
    db: &mut PgConnection,
    app_id: AppId,
    changed: impl Iterator<Item = &'a Device>,
) -> sqlx::Result<()> {
    let rows: Vec<&Device> = changed.collect();
    if rows.is_empty() {
        return Ok(());
    }
    let bindings: Vec<Option<&Binding>> = rows.iter().map(|row| row.binding.as_ref()).collect();
    sqlx::query!(
        "WITH new AS MATERIALIZED (
             SELECT u.*, d.place
             FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::bigint[], $8::int[],
                         $9::bigint[], $10::text[], $11::text[], $12::bytea[], $13::timestamptz[], $14::text[],
                         $15::timestamptz[], $16::timestamptz[], $17::timestamptz[], $18::timestamptz[])
                 AS u(user_id, device_id, platform, session_state, event_time, login_seq, unread, certificate_id, vendor,
                      token, token_digest, reported_at, binding_status, login_at, last_seen,
                      disconnected_at, unread_at)
             CROSS JOIN LATERAL (
                 SELECT x.ctid AS place FROM devices x
                 WHERE x.app_id = $1 AND x.user_id = u.user_id AND x.device_id = u.device_id
                 OFFSET 0) AS d),
         letting_go AS (
             UPDATE devices d SET platform = u.platform, session_state = u.session_state, event_time = u.event_time,
                 login_seq = u.login_seq, unread = u.unread, certificate_id = u.certificate_id, vendor = u.vendor,
                 token = u.token, token_digest = u.token_digest, reported_at = u.reported_at,
                 binding_status = u.binding_status, login_at = u.login_at, last_seen = u.last_seen,
                 disconnected_at = u.disconnected_at, unread_at = u.unread_at
             FROM new u
             WHERE d.ctid = u.place AND (u.binding_status IN ('active', 'muted')) IS NOT TRUE
             RETURNING 1)
         UPDATE devices d SET platform = u.platform, session_state = u.session_state, event_time = u.event_time,
             login_seq = u.login_seq, unread = u.unread, certificate_id = u.certificate_id, vendor = u.vendor,
             token = u.token, token_digest = u.token_digest, reported_at = u.reported_at,
             binding_status = u.binding_status, login_at = u.login_at, last_seen = u.last_seen,
                 disconnected_at = u.disconnected_at, unread_at = u.unread_at
         FROM (SELECT count(*) FROM letting_go) AS first, new u
         WHERE d.ctid = u.place AND u.binding_status IN ('active', 'muted')",
        app_id.0,
        &rows.iter().map(|row| row.user_id.as_str()).collect::<Vec<_>>() as &[&str],
        &rows.iter().map(|row| row.device_id.as_str()).collect::<Vec<_>>() as &[&str],
        &rows.iter().map(|row| row.platform.as_str()).collect::<Vec<_>>() as &[&str],
        &rows.iter().map(|row| row.state.as_str()).collect::<Vec<_>>() as &[&str],
        &rows.iter().map(|row| row.event_time).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.login_seq).collect::<Vec<_>>() as &[Option<i64>],
        &rows.iter().map(|row| row.unread).collect::<Vec<_>>() as &[Option<i32>],
        &bindings.iter().map(|b| b.map(|b| b.certificate_id.0)).collect::<Vec<_>>() as &[Option<i64>],
        &bindings.iter().map(|b| b.map(|b| b.vendor.as_str())).collect::<Vec<_>>() as &[Option<&str>],
        &bindings.iter().map(|b| b.map(|b| b.token.as_str())).collect::<Vec<_>>() as &[Option<&str>],
        &bindings.iter().map(|b| b.map(|b| token_digest(&b.token).to_vec())).collect::<Vec<_>>()
            as &[Option<Vec<u8>>],
        &bindings.iter().map(|b| b.map(|b| b.reported_at)).collect::<Vec<_>>() as &[Option<DateTime<Utc>>],
        &bindings.iter().map(|b| b.map(|b| b.status.as_str())).collect::<Vec<_>>() as &[Option<&str>],
        &rows.iter().map(|row| row.login_at).collect::<Vec<_>>() as &[Option<DateTime<Utc>>],
        &rows.iter().map(|row| row.last_seen).collect::<Vec<_>>() as &[Option<DateTime<Utc>>],
        &rows.iter().map(|row| row.disconnected_at).collect::<Vec<_>>() as &[Option<DateTime<Utc>>],
        &rows.iter().map(|row| row.unread_at).collect::<Vec<_>>() as &[Option<DateTime<Utc>>],
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Forgets devices that the same transaction holds: user and device id.
pub async fn delete(
    db: impl PgExecutor<'_>,
    app_id: AppId,
    user_ids: &[&str],
    device_ids: &[&str],
) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM devices d WHERE d.ctid = ANY (ARRAY(
             SELECT x.ctid FROM unnest($2::text[], $3::text[]) AS u(user_id, device_id)
             CROSS JOIN LATERAL (
                 SELECT y.ctid FROM devices y
                 WHERE y.app_id = $1 AND y.user_id = u.user_id AND y.device_id = u.device_id
                 OFFSET 0) AS x))",
        app_id.0,
        user_ids as &[&str],
        device_ids as &[&str],
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Where a walk over all devices stands: the key of the last one seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub app_id: AppId,
    pub user_id: String,
    pub device_id: String,
}

impl Default for Place {
    fn default() -> Self {
        Self { app_id: AppId(0), user_id: String::new(), device_id: String::new() }
    }
}

/// Ages beyond which a row may have lapsed, by the strictest setting of all apps.
#[derive(Debug, Clone, Copy)]
pub struct Lapses {
    pub killed_before: DateTime<Utc>,
    pub seen_before: DateTime<Utc>,
    /// Of devices on which nobody ever logged in.
    pub heard_before: DateTime<Utc>,
    pub reported_before: DateTime<Utc>,
}

/// The next `limit` devices of a walk in the order of the primary key: those that may have lapsed, and where the walk stands
/// then; `None`: it came to the end.
pub async fn walk(
    db: impl PgExecutor<'_>,
    from: &Place,
    limit: i64,
    lapses: Lapses,
) -> sqlx::Result<(Vec<Place>, Option<Place>)> {
    let rows = sqlx::query!(
        r#"WITH walked AS MATERIALIZED (
               SELECT app_id, user_id, device_id, session_state, event_time, last_seen, binding_status, reported_at,
                   CASE WHEN login_at IS NULL AND token IS NULL AND session_state IN ('logged_out', 'kicked')
                        THEN greatest(event_time, disconnected_at) END AS only_heard_at,
                   row_number() OVER () AS number
               FROM devices WHERE (app_id, user_id, device_id) > ($1, $2, $3)
               ORDER BY app_id, user_id, device_id LIMIT $4)
           SELECT app_id, user_id, device_id, number = $4 AS "is_last!",
               ((session_state = 'killed' AND event_time < $5)
                OR (session_state IN ('foreground', 'background') AND last_seen < $6)
                OR only_heard_at < $8
                OR (binding_status = 'pending' AND reported_at < $7)) IS TRUE AS "has_lapsed!"
           FROM walked
           WHERE number = $4 OR (session_state = 'killed' AND event_time < $5)
              OR (session_state IN ('foreground', 'background') AND last_seen < $6)
              OR only_heard_at < $8
              OR (binding_status = 'pending' AND reported_at < $7)"#,
        from.app_id.0,
        from.user_id,
        from.device_id,
        limit,
        lapses.killed_before,
        lapses.seen_before,
        lapses.reported_before,
        lapses.heard_before,
    )
    .fetch_all(db)
    .await?;
    let (mut found, mut next) = (Vec::new(), None);
    for row in rows {
        let place = Place { app_id: AppId(row.app_id), user_id: row.user_id, device_id: row.device_id };
        if row.is_last {
            next = Some(place.clone());
        }
        if row.has_lapsed {
            found.push(place);
        }
    }
    Ok((found, next))
}

/// The devices of one user, at most `limit`.
pub async fn of_user(db: impl PgExecutor<'_>, app_id: AppId, user_id: &str, limit: i64) -> sqlx::Result<Vec<Device>> {
    sqlx::query_as!(
        Row,
        "SELECT user_id, device_id, platform, session_state, event_time, login_seq, login_at, last_seen, disconnected_at,
             unread, unread_at, certificate_id, vendor, token, reported_at, binding_status
         FROM devices WHERE app_id = $1 AND user_id = $2 ORDER BY device_id LIMIT $3",
        app_id.0,
        user_id,
        limit,
    )
    .fetch_all(db)
    .await?
    .into_iter()
    .map(Device::try_from)
    .collect()
}

/// A binding whose token a vendor called dead or muted.
#[derive(Debug, Clone)]
pub struct TokenVerdict {
    pub app_id: AppId,
    pub user_id: String,
    pub device_id: String,
    pub token: String,
    /// When the attempt began: a report since then proves the token alive.
    pub tried_at: DateTime<Utc>,
    /// `invalid` or `muted`.
    pub status: BindingStatus,
}

/// Marks bindings whose token is still the one that was tried and was not reported again since.
pub async fn mark_tokens(db: impl PgExecutor<'_>, verdicts: &[TokenVerdict]) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "UPDATE devices d SET binding_status = u.status
         FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bytea[], $5::timestamptz[], $6::text[])
             AS u(app_id, user_id, device_id, token_digest, tried_at, status)
         WHERE d.app_id = u.app_id AND d.user_id = u.user_id AND d.device_id = u.device_id
           AND d.app_id = ANY ($1) AND d.user_id = ANY ($2) AND d.token_digest = u.token_digest AND d.reported_at <= u.tried_at
           AND (d.binding_status IN ('active', 'muted')) IS TRUE",
        &verdicts.iter().map(|v| v.app_id.0).collect::<Vec<_>>(),
        &verdicts.iter().map(|v| v.user_id.as_str()).collect::<Vec<_>>() as &[&str],
        &verdicts.iter().map(|v| v.device_id.as_str()).collect::<Vec<_>>() as &[&str],
        &verdicts.iter().map(|v| token_digest(&v.token).to_vec()).collect::<Vec<_>>(),
        &verdicts.iter().map(|v| v.tried_at).collect::<Vec<_>>(),
        &verdicts.iter().map(|v| v.status.as_str()).collect::<Vec<_>>() as &[&str],
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}
