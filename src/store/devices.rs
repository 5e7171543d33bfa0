//! Table `devices`: sessions and bindings.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor};

use super::unknown;
use crate::domain::certificate::VendorKind;
use crate::domain::id::{AppId, CertificateId};
use crate::domain::session::{Binding, BindingStatus, Device, Platform, SessionState};
use crate::secrets::token_digest;

/// The index that keeps a live token with one device.
pub const LIVE_TOKEN: &str = "devices_live_token";

struct Row {
    user_id: String,
    device_id: String,
    platform: String,
    session_state: String,
    event_time: DateTime<Utc>,
    login_seq: Option<i64>,
    unread: Option<i32>,
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
            unread: row.unread,
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

/// What a batch of events or token reports may touch.
#[derive(Debug, Default)]
pub struct Touched {
    /// The devices named: user, device, platform, and whether the row is to be made when there is none.
    pub devices: Vec<(String, String, Platform, bool)>,
    /// Device ids that change hands when somebody logs in on them.
    pub logins: Vec<String>,
    /// Tokens reported.
    pub tokens: Vec<(VendorKind, String)>,
}

/// Loads every row the batch may touch, and holds them against other writers until the transaction ends. Rows that are to
/// be made are made first, so that two first events of one device wait for each other too. Holders of a token count as
/// touched: of those reported, and of those a login would revive.
pub async fn lock_touched(db: &mut PgConnection, app_id: AppId, touched: &Touched) -> sqlx::Result<Vec<Device>> {
    let users: Vec<&str> = touched.devices.iter().map(|d| d.0.as_str()).collect();
    let devices: Vec<&str> = touched.devices.iter().map(|d| d.1.as_str()).collect();
    let (new_users, new_devices, new_platforms): (Vec<_>, Vec<_>, Vec<_>) = touched
        .devices
        .iter()
        .filter(|(_, _, _, is_made)| *is_made)
        .map(|(user, device, platform, _)| (user.as_str(), device.as_str(), platform.as_str()))
        .collect();
    if !new_users.is_empty() {
        sqlx::query!(
            "INSERT INTO devices (app_id, user_id, device_id, platform, session_state, event_time)
             SELECT DISTINCT ON (n.user_id, n.device_id) $1, n.user_id, n.device_id, n.platform, 'logged_out', 'epoch'::timestamptz
             FROM unnest($2::text[], $3::text[], $4::text[]) AS n(user_id, device_id, platform)
             WHERE NOT EXISTS (SELECT FROM devices d
                               WHERE d.app_id = $1 AND d.user_id = n.user_id AND d.device_id = n.device_id)
             ORDER BY n.user_id, n.device_id
             ON CONFLICT DO NOTHING",
            app_id.0,
            &new_users as &[&str],
            &new_devices as &[&str],
            &new_platforms as &[&str],
        )
        .execute(&mut *db)
        .await?;
    }
    let vendors: Vec<&str> = touched.tokens.iter().map(|(vendor, _)| vendor.as_str()).collect();
    let digests: Vec<Vec<u8>> = touched.tokens.iter().map(|(_, token)| token_digest(token).to_vec()).collect();
    sqlx::query_as!(
        Row,
        "SELECT d.user_id, d.device_id, d.platform, d.session_state, d.event_time, d.login_seq, d.unread,
             d.certificate_id, d.vendor, d.token, d.reported_at, d.binding_status
         FROM devices d
         JOIN (SELECT t.user_id, t.device_id FROM unnest($2::text[], $3::text[]) AS t(user_id, device_id)
               UNION
               SELECT o.user_id, o.device_id FROM unnest($4::text[]) AS l(device_id)
                   JOIN devices o ON o.device_id = l.device_id AND o.app_id = $1
                       AND o.session_state IN ('foreground', 'background', 'killed')
               UNION
               SELECT o.user_id, o.device_id FROM unnest($2::text[], $3::text[]) AS t(user_id, device_id)
                   JOIN devices m ON m.app_id = $1 AND m.user_id = t.user_id AND m.device_id = t.device_id
                       AND m.binding_status IN ('pending', 'stale')
                   JOIN devices o ON o.app_id = $1 AND o.vendor = m.vendor AND o.token_digest = m.token_digest
                       AND o.binding_status IN ('active', 'muted')
               UNION
               SELECT o.user_id, o.device_id FROM unnest($5::text[], $6::bytea[]) AS k(vendor, digest)
                   JOIN devices o ON o.app_id = $1 AND o.vendor = k.vendor AND o.token_digest = k.digest
                       AND o.binding_status IN ('active', 'muted')
              ) AS keys USING (user_id, device_id)
         WHERE d.app_id = $1
         ORDER BY d.user_id, d.device_id
         FOR UPDATE OF d",
        app_id.0,
        &users as &[&str],
        &devices as &[&str],
        &touched.logins,
        &vendors as &[&str],
        &digests,
    )
    .fetch_all(db)
    .await?
    .into_iter()
    .map(Device::try_from)
    .collect()
}

/// Writes rows back: first those that lose a live token, then the others, as the unique index wants it.
/// # Errors
/// A violation of [`LIVE_TOKEN`] when a token's holder was not among the rows locked.
pub async fn write_back<'a>(
    db: &mut PgConnection,
    app_id: AppId,
    changed: impl Iterator<Item = &'a Device>,
) -> sqlx::Result<()> {
    let is_live = |device: &&Device| device.binding.as_ref().is_some_and(|binding| binding.status.is_live());
    let (live, others): (Vec<&Device>, Vec<&Device>) = changed.partition(is_live);
    for rows in [others, live] {
        if !rows.is_empty() {
            write(&mut *db, app_id, &rows).await?;
        }
    }
    Ok(())
}

async fn write(db: &mut PgConnection, app_id: AppId, rows: &[&Device]) -> sqlx::Result<()> {
    let bindings: Vec<Option<&Binding>> = rows.iter().map(|row| row.binding.as_ref()).collect();
    sqlx::query!(
        "UPDATE devices d SET platform = u.platform, session_state = u.session_state, event_time = u.event_time,
             login_seq = u.login_seq, unread = u.unread, certificate_id = u.certificate_id, vendor = u.vendor,
             token = u.token, token_digest = u.token_digest, reported_at = u.reported_at,
             binding_status = u.binding_status
         FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::bigint[], $8::int[],
                     $9::bigint[], $10::text[], $11::text[], $12::bytea[], $13::timestamptz[], $14::text[])
             AS u(user_id, device_id, platform, session_state, event_time, login_seq, unread, certificate_id, vendor,
                  token, token_digest, reported_at, binding_status)
         WHERE d.app_id = $1 AND d.user_id = u.user_id AND d.device_id = u.device_id",
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
    )
    .execute(db)
    .await?;
    Ok(())
}

/// The devices of one user, at most `limit`.
pub async fn of_user(db: impl PgExecutor<'_>, app_id: AppId, user_id: &str, limit: i64) -> sqlx::Result<Vec<Device>> {
    sqlx::query_as!(
        Row,
        "SELECT user_id, device_id, platform, session_state, event_time, login_seq, unread, certificate_id, vendor,
             token, reported_at, binding_status
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
           AND d.token_digest = u.token_digest AND d.reported_at <= u.tried_at
           AND d.binding_status IN ('active', 'muted')",
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
