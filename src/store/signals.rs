//! What instances tell each other by `NOTIFY`. Who misses a change catches up by looking; who misses a cancellation sends
//! what it holds of that notification.

use sqlx::PgExecutor;
use sqlx::postgres::{PgListener, PgPool};
use uuid::Uuid;

use crate::domain::id::{AppId, NotificationId};

const DIRECTORY: &str = "rouse_directory";
const CANCELLED: &str = "rouse_cancelled";

/// A signal of another instance, or of this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Apps, certificates, keys or holds changed.
    Directory,
    /// A caller cancelled a notification.
    Cancelled(AppId, NotificationId),
}

/// Tells every instance that apps, certificates, keys or holds changed; sent when the transaction commits.
pub async fn directory_changed(db: impl PgExecutor<'_>) -> sqlx::Result<()> {
    sqlx::query!("SELECT pg_notify($1, '')", DIRECTORY).execute(db).await?;
    Ok(())
}

/// Tells every instance that a caller cancelled a notification.
pub async fn notification_cancelled(
    db: impl PgExecutor<'_>,
    app_id: AppId,
    notification: NotificationId,
) -> sqlx::Result<()> {
    let payload = format!("{} {}", app_id.0, notification.0);
    sqlx::query!("SELECT pg_notify($1, $2)", CANCELLED, payload).execute(db).await?;
    Ok(())
}

/// Hears what the instances tell.
pub struct Ear(PgListener);

impl Ear {
    /// Listens from now on.
    /// # Errors
    /// Database errors.
    pub async fn open(pool: &PgPool) -> sqlx::Result<Self> {
        let mut listener = PgListener::connect_with(pool).await?;
        listener.listen_all([DIRECTORY, CANCELLED]).await?;
        Ok(Self(listener))
    }

    /// The next signal.
    /// # Errors
    /// The connection broke: what was told meanwhile is missed.
    pub async fn next(&mut self) -> sqlx::Result<Signal> {
        loop {
            let told = self.0.recv().await?;
            if told.channel() == DIRECTORY {
                return Ok(Signal::Directory);
            }
            if let Some(cancelled) = cancelled(told.payload()) {
                return Ok(cancelled);
            }
        }
    }
}

fn cancelled(payload: &str) -> Option<Signal> {
    let (app_id, notification) = payload.split_once(' ')?;
    let notification = NotificationId::containing(Uuid::parse_str(notification).ok()?);
    Some(Signal::Cancelled(AppId(app_id.parse().ok()?), notification))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancellation_is_read_as_it_is_written_and_anything_else_is_not_one() {
        let notification = NotificationId::new(1_795_000_000_000, 7 << 20);
        let payload = format!("{} {}", 5, notification.0);
        assert_eq!(cancelled(&payload), Some(Signal::Cancelled(AppId(5), notification)));
        for other in ["", "5", "x y", "5 not-an-id"] {
            assert_eq!(cancelled(other), None, "{other}");
        }
    }
}
