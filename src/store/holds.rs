//! Table `certificate_holds`: message classes whose daily quota is spent.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use crate::domain::id::CertificateId;

/// A class of a certificate that is not sent until a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    pub certificate_id: i64,
    pub message_class: String,
    pub held_until: DateTime<Utc>,
}

/// Holds a class; a later time wins.
pub async fn upsert(
    db: impl PgExecutor<'_>,
    certificate_id: CertificateId,
    message_class: &str,
    until: DateTime<Utc>,
    vendor_code: Option<&str>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO certificate_holds (certificate_id, message_class, held_until, vendor_code)
         SELECT certificate_id, $2, $3, $4 FROM certificates WHERE certificate_id = $1
         ON CONFLICT (certificate_id, message_class) DO UPDATE
             SET held_until = greatest(certificate_holds.held_until, excluded.held_until),
                 vendor_code = excluded.vendor_code",
        certificate_id.0,
        message_class,
        until,
        vendor_code,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Every hold still running.
pub async fn load(db: impl PgExecutor<'_>, now: DateTime<Utc>) -> sqlx::Result<Vec<Hold>> {
    sqlx::query_as!(
        Hold,
        "SELECT certificate_id, message_class, held_until FROM certificate_holds WHERE held_until > $1",
        now
    )
    .fetch_all(db)
    .await
}

/// Lets a certificate's classes go, as an operator asked. Answers whether any was held.
pub async fn release(db: impl PgExecutor<'_>, certificate_id: CertificateId) -> sqlx::Result<bool> {
    let done =
        sqlx::query!("DELETE FROM certificate_holds WHERE certificate_id = $1", certificate_id.0).execute(db).await?;
    Ok(done.rows_affected() > 0)
}
