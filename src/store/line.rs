//! Time limits on the client's side: a network that swallows packets answers nothing, so the server's limits do not help.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnection, PgPool};
use sqlx::{Connection, Postgres};

/// The most that one statement of the pipeline may take, seen from here.
pub const STATEMENT_LIMIT: Duration = Duration::from_secs(12);
/// The same for several statements in a row, of maintenance and the like, where nobody waits.
pub const WORK_LIMIT: Duration = Duration::from_mins(1);
/// A connection that goes back to its pool answers within this, or is closed.
const RELEASE_LIMIT: Duration = Duration::from_secs(2);

/// Waits for a statement, but not for ever. Whether a statement that was given up took effect is not known, as after a
/// broken connection.
/// # Errors
/// The statement's own, or `Io` with [`std::io::ErrorKind::TimedOut`].
pub async fn bounded<T>(limit: Duration, statement: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    match tokio::time::timeout(limit, statement).await {
        Ok(result) => result,
        Err(_) => {
            Err(sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer from the database")))
        }
    }
}

/// The statement may have been committed although no answer came.
pub fn is_ambiguous(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::Tls(_) | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(told) => is_farewell(told.code().as_deref()),
        _ => false,
    }
}

/// The server, or a pooler before it, ends the connection: classes 57P (shut-down, crash) and 08 (connection).
fn is_farewell(code: Option<&str>) -> bool {
    code.is_some_and(|code| code.starts_with("57P") || code.starts_with("08"))
}

/// Whether a connection is as good as before: it answered the ping that every release makes, in time. Without the limit a
/// connection into the void would hold its place in the pool until the kernel gives it up, minutes later.
pub(super) async fn answers(connection: &mut PgConnection) -> sqlx::Result<bool> {
    bounded(RELEASE_LIMIT, connection.ping()).await.map(|()| true)
}

/// The connection of one worker, kept between its statements: no ping before and after each, no waiting for others. One
/// whose statement failed to answer is closed, and the next statement gets another.
#[derive(Debug)]
pub struct Line {
    pool: PgPool,
    idle: Mutex<Option<PoolConnection<Postgres>>>,
}

impl Line {
    /// Of this pool; connects when first used.
    pub fn of(pool: &PgPool) -> Self {
        Self { pool: pool.clone(), idle: Mutex::new(None) }
    }

    /// The connection, for some statements in a row.
    /// # Errors
    /// No connection could be made.
    pub async fn open(&self) -> sqlx::Result<OpenLine<'_>> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
        let connection = match idle {
            Some(connection) => connection,
            None => self.pool.acquire().await?,
        };
        Ok(OpenLine { line: self, connection: Some(connection) })
    }
}

/// A [`Line`] in use. Unless [`OpenLine::keep`] says that all is well, it is closed at the end.
pub struct OpenLine<'a> {
    line: &'a Line,
    /// Always there until the end.
    connection: Option<PoolConnection<Postgres>>,
}

impl OpenLine<'_> {
    /// Keeps the connection for the next statements if this result says that it works: also a refusal is an answer.
    /// Whatever transaction was begun must be over.
    pub fn keep<T>(mut self, result: sqlx::Result<T>) -> sqlx::Result<T> {
        let works = match &result {
            Ok(_) => true,
            Err(error @ sqlx::Error::Database(_)) => !is_ambiguous(error),
            Err(_) => false,
        };
        if works {
            *self.line.idle.lock().unwrap_or_else(PoisonError::into_inner) = self.connection.take();
        }
        result
    }
}

impl Deref for OpenLine<'_> {
    type Target = PgConnection;

    #[expect(clippy::expect_used, reason = "taken by keep and drop alone, which end it")]
    fn deref(&self) -> &PgConnection {
        self.connection.as_deref().expect("an open line has a connection")
    }
}

impl DerefMut for OpenLine<'_> {
    #[expect(clippy::expect_used, reason = "taken by keep and drop alone, which end it")]
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.connection.as_deref_mut().expect("an open line has a connection")
    }
}

impl Drop for OpenLine<'_> {
    fn drop(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.close_on_drop();
        }
    }
}
