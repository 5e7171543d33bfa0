//! Rouse wakes the phone of a user whose app was killed.
//!
//! The library beside the one binary. `docs/architecture.md` tells which module does what and who may use whom.

pub mod api;
pub mod cli;
pub mod clock;
pub mod config;
pub mod directory;
pub mod dispatcher;
pub mod domain;
pub mod embedded;
pub mod intake;
pub mod maintenance;
pub mod secrets;
pub mod server;
pub mod sessions;
pub mod signals;
pub mod simulator;
pub mod store;
pub mod telemetry;
pub mod vendor;

/// The schema, applied in order by `rouse migrate` and at the start of `rouse serve`.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!();
