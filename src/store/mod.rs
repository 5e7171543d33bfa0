//! All SQL, one file per table. Nothing else writes SQL.

pub mod api_keys;
pub mod apps;
pub mod audit;
pub mod bulk;
pub mod certificates;
pub mod deliveries;
pub mod devices;
pub mod events;
pub mod holds;
pub mod idempotency;
pub mod instances;
pub mod line;
pub mod notifications;
pub mod partitions;
pub mod preferences;
pub mod push_counts;
pub mod rescues;
pub mod signals;
pub mod superseding;
pub mod tencent_callbacks;

use std::str::FromStr;
use std::time::Duration;

use sqlx::Connection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};

/// Connections of the pipeline: one each for intake, recorder and sweeper, two to look at devices again and for expiry.
const PIPELINE_CONNECTIONS: u32 = 5;
/// Connections for session events: more would only contend for the same two cores of a small database server.
const SESSION_CONNECTIONS: u32 = 4;

/// The pools. They differ in what the planner may do.
#[derive(Debug, Clone)]
pub struct Database {
    /// For the API, maintenance and everything that is not the hot path.
    pub api: PgPool,
    /// For session events and token reports: planned as in the pipeline, in transactions of their own.
    pub sessions: PgPool,
    /// For intake, recorder and sweeper: generic plans, made of index scans even where a statement was
    /// prepared while its table was empty (docs/architecture.md, "Plans").
    pub pipeline: PgPool,
}

impl Database {
    /// Opens the pools; connections are made when first needed.
    /// # Errors
    /// A URL that is none.
    pub fn open(url: &str, api_connections: u32) -> sqlx::Result<Self> {
        // A process that was frozen in the middle of a transaction holds its locks no longer than it counts as alive.
        let base = PgConnectOptions::from_str(url)?.application_name("rouse").options([
            ("statement_timeout", "30000"),
            ("idle_in_transaction_session_timeout", "5000"),
            // A peer that the network swallowed holds no lock while the server waits to be allowed to write to it.
            ("tcp_user_timeout", "10000"),
        ]);
        let pipeline = base.clone().options([
            // Below what this side waits for: a statement that was given up does not run on beside its repetition.
            ("statement_timeout", "10000"),
            ("plan_cache_mode", "force_generic_plan"),
            ("enable_seqscan", "off"),
            ("enable_hashjoin", "off"),
            ("enable_mergejoin", "off"),
            ("enable_bitmapscan", "off"),
            ("enable_material", "off"),
            ("jit", "off"),
        ]);
        let pool = |connections| {
            PgPoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(Duration::from_secs(5))
                .idle_timeout(Duration::from_mins(10))
                .after_release(|connection, _| Box::pin(line::answers(connection)))
        };
        Ok(Self {
            api: pool(api_connections).connect_lazy_with(base),
            sessions: pool(SESSION_CONNECTIONS).connect_lazy_with(pipeline.clone()),
            pipeline: pool(PIPELINE_CONNECTIONS).connect_lazy_with(pipeline),
        })
    }

    /// One connection outside the pools, for the heartbeat: whatever keeps the others busy, it must not wait for them.
    /// # Errors
    /// No connection could be made.
    pub async fn connect(&self) -> sqlx::Result<PgConnection> {
        PgConnection::connect_with(&self.api.connect_options()).await
    }

    /// Closes every connection.
    pub async fn close(&self) {
        self.pipeline.close().await;
        self.sessions.close().await;
        self.api.close().await;
    }
}

/// Whether a statement failed on this constraint.
pub fn violates(error: &sqlx::Error, constraint: &str) -> bool {
    matches!(error, sqlx::Error::Database(database) if database.constraint() == Some(constraint))
}

/// Others changed rows as often as a transaction looked for them.
#[derive(Debug, thiserror::Error)]
#[error("other transactions were in the way each time")]
struct Crowded;

/// The error of a transaction that gave way to others.
fn crowded() -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::other(Crowded))
}

/// Whether the same transaction may well succeed when run again: a deadlock, a serialisation failure, or too many others.
pub fn is_transient(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(database) => matches!(database.code().as_deref(), Some("40P01" | "40001")),
        sqlx::Error::Io(error) => error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<Crowded>),
        _ => false,
    }
}

/// A stored name that the code does not know: the schema's checks make it impossible short of a newer version's rows.
fn unknown(what: &'static str, value: &str) -> sqlx::Error {
    sqlx::Error::Decode(format!("unknown {what} in the database: {value}").into())
}

/// Escapes a pattern's special characters and lists the texts as a Postgres array literal: arrays of arrays must be
/// rectangular, so rows with a list each are passed as texts.
fn array_literal<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let mut literal = String::from("{");
    for (index, text) in texts.into_iter().enumerate() {
        if index > 0 {
            literal.push(',');
        }
        literal.push('"');
        for c in text.chars() {
            if matches!(c, '"' | '\\') {
                literal.push('\\');
            }
            literal.push(c);
        }
        literal.push('"');
    }
    literal.push('}');
    literal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn array_literals_quote_everything() {
        assert_eq!(array_literal(["a", "b,c", "d\"e\\f", "NULL", ""]), r#"{"a","b,c","d\"e\\f","NULL",""}"#);
        assert_eq!(array_literal([]), "{}");
    }
}
