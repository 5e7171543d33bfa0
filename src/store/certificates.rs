//! Table `certificates`.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor};

use super::unknown;
use crate::domain::certificate::{Certificate, CertificateState, VendorKind};
use crate::domain::id::{AppId, CertificateId};

struct Row {
    certificate_id: i64,
    app_id: i64,
    vendor: String,
    name: String,
    package_name: String,
    identifiers: serde_json::Value,
    sealed: Vec<u8>,
    key_id: String,
    fingerprint: String,
    defaults: serde_json::Value,
    rate_limit: Option<i32>,
    state: String,
    state_reason: Option<String>,
    state_since: DateTime<Utc>,
    revision: i64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl TryFrom<Row> for Certificate {
    type Error = sqlx::Error;
    fn try_from(row: Row) -> sqlx::Result<Self> {
        Ok(Self {
            certificate_id: CertificateId(row.certificate_id),
            app_id: AppId(row.app_id),
            vendor: VendorKind::parse(&row.vendor).ok_or_else(|| unknown("vendor", &row.vendor))?,
            name: row.name,
            package_name: row.package_name,
            identifiers: row.identifiers,
            sealed: row.sealed,
            key_id: row.key_id,
            fingerprint: row.fingerprint,
            defaults: row.defaults,
            rate_limit: row.rate_limit,
            state: CertificateState::parse(&row.state).ok_or_else(|| unknown("certificate state", &row.state))?,
            state_reason: row.state_reason,
            state_since: row.state_since,
            revision: row.revision,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

/// The next id for a certificate whose operator chose none. Ids taken by hand are stepped over by the caller.
pub async fn next_id(db: impl PgExecutor<'_>) -> sqlx::Result<CertificateId> {
    sqlx::query_scalar!(r#"SELECT nextval('certificate_ids') AS "id!""#).fetch_one(db).await.map(CertificateId)
}

/// Stores a new certificate. False: the id is taken, in this app or another.
pub async fn insert(db: impl PgExecutor<'_>, certificate: &Certificate) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "INSERT INTO certificates (certificate_id, app_id, vendor, name, package_name, identifiers, sealed, key_id,
             fingerprint, defaults, rate_limit, state, state_reason, state_since, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
         ON CONFLICT DO NOTHING",
        certificate.certificate_id.0,
        certificate.app_id.0,
        certificate.vendor.as_str(),
        certificate.name,
        certificate.package_name,
        certificate.identifiers,
        certificate.sealed,
        certificate.key_id,
        certificate.fingerprint,
        certificate.defaults,
        certificate.rate_limit,
        certificate.state.as_str(),
        certificate.state_reason,
        certificate.state_since,
        certificate.created_at,
        certificate.updated_at,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Reads one certificate and holds its row against other writers until the transaction ends.
pub async fn lock(
    db: &mut PgConnection,
    app_id: AppId,
    certificate_id: CertificateId,
) -> sqlx::Result<Option<Certificate>> {
    sqlx::query_as!(
        Row,
        "SELECT certificate_id, app_id, vendor, name, package_name, identifiers, sealed, key_id, fingerprint, defaults,
             rate_limit, state, state_reason, state_since, revision, created_at, updated_at
         FROM certificates WHERE certificate_id = $2 AND app_id = $1 FOR UPDATE",
        app_id.0,
        certificate_id.0,
    )
    .fetch_optional(db)
    .await?
    .map(Certificate::try_from)
    .transpose()
}

/// Writes back what an edit may change; state and vendor stay.
pub async fn update(db: impl PgExecutor<'_>, certificate: &Certificate) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE certificates SET name = $2, package_name = $3, identifiers = $4, sealed = $5, key_id = $6,
             fingerprint = $7, defaults = $8, rate_limit = $9, updated_at = $10,
             revision = nextval('directory_revision')
         WHERE certificate_id = $1",
        certificate.certificate_id.0,
        certificate.name,
        certificate.package_name,
        certificate.identifiers,
        certificate.sealed,
        certificate.key_id,
        certificate.fingerprint,
        certificate.defaults,
        certificate.rate_limit,
        certificate.updated_at,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Moves a certificate to another state. False: it was deleted, or is in that state already.
pub async fn set_state(
    db: impl PgExecutor<'_>,
    certificate_id: CertificateId,
    state: CertificateState,
    reason: Option<&str>,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "UPDATE certificates SET state = $2, state_reason = $3, state_since = $4,
             revision = nextval('directory_revision')
         WHERE certificate_id = $1 AND state <> $2",
        certificate_id.0,
        state.as_str(),
        reason,
        now,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Moves an active certificate to refused, because its vendor said so about this revision; an edit made since wins.
pub async fn refuse(
    db: impl PgExecutor<'_>,
    certificate_id: CertificateId,
    revision: i64,
    reason: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "UPDATE certificates SET state = 'refused', state_reason = $3, state_since = $4,
             revision = nextval('directory_revision')
         WHERE certificate_id = $1 AND revision = $2 AND state = 'active'",
        certificate_id.0,
        revision,
        reason,
        now,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Deletes a certificate. False: there is none.
pub async fn delete(db: impl PgExecutor<'_>, app_id: AppId, certificate_id: CertificateId) -> sqlx::Result<bool> {
    let done =
        sqlx::query!("DELETE FROM certificates WHERE app_id = $1 AND certificate_id = $2", app_id.0, certificate_id.0)
            .execute(db)
            .await?;
    Ok(done.rows_affected() == 1)
}

/// Every certificate: the directory's content.
pub async fn load_all(db: impl PgExecutor<'_>) -> sqlx::Result<Vec<Certificate>> {
    sqlx::query_as!(
        Row,
        "SELECT certificate_id, app_id, vendor, name, package_name, identifiers, sealed, key_id, fingerprint, defaults,
             rate_limit, state, state_reason, state_since, revision, created_at, updated_at
         FROM certificates ORDER BY certificate_id"
    )
    .fetch_all(db)
    .await?
    .into_iter()
    .map(Certificate::try_from)
    .collect()
}

/// The newest revision among apps, certificates and keys, and how many there are: equal means nothing changed.
pub async fn directory_version(db: impl PgExecutor<'_>) -> sqlx::Result<(i64, i64)> {
    let row = sqlx::query!(
        r#"SELECT greatest(
               (SELECT max(revision) FROM apps),
               (SELECT max(revision) FROM certificates),
               (SELECT max(revision) FROM api_keys),
               (SELECT max(revision) FROM tencent_callbacks),
               0) AS "newest!",
           (SELECT count(*) FROM apps) + (SELECT count(*) FROM certificates)
               + (SELECT count(*) FROM tencent_callbacks)
               + (SELECT count(*) FROM api_keys WHERE revoked_at IS NULL) AS "count!""#
    )
    .fetch_one(db)
    .await?;
    Ok((row.newest, row.count))
}
