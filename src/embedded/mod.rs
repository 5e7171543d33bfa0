//! The private Postgres of a server that was given no database.
//!
//! It lives in the data directory, listens on a Unix socket only, never runs as root, and outlives a killed server: the
//! next start adopts it. Layout of a data directory:
//!
//! ```text
//! rouse.lock               locked while a server uses the directory; holds its process id
//! postgres/                mode 0700, belongs to the user who runs Postgres
//! postgres/data/           the cluster, renamed into place when initdb has finished
//! postgres/postgres.log    what Postgres says, bounded (an older part in postgres.log.1)
//! postgres/.s.PGSQL.5432   the socket (in a private directory under /tmp when the path is too long)
//! ```

mod data_dir;
mod error;
mod find;
mod home;
mod owner;
mod postmaster;
mod process;
mod server;
mod watcher;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

pub use error::EmbeddedError;
pub use server::EmbeddedPostgres;

/// How a private Postgres is to be run.
#[derive(Debug, Clone)]
pub struct EmbeddedOptions {
    /// `Mode::Serve`: the server's data directory, made when missing. `Mode::Temporary`: where the temporary directory
    /// is made; `/tmp` is used instead when the user who runs Postgres cannot write there or the path is too long.
    pub data_dir: PathBuf,
    /// Where `initdb` and `postgres` are; searched in the usual places when not given.
    pub bin_dir: Option<PathBuf>,
    pub mode: Mode,
    /// `shared_buffers`, in mebibytes.
    pub shared_buffers_mb: u32,
}

/// How long the data lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The data stays; one server at a time; a Postgres left running by a killed server is adopted.
    Serve,
    /// Everything is removed at the end, even when this process is killed.
    Temporary,
}

impl EmbeddedOptions {
    /// A lasting Postgres in this data directory.
    pub fn serve(data_dir: impl Into<PathBuf>) -> Self {
        Self { data_dir: data_dir.into(), bin_dir: None, mode: Mode::Serve, shared_buffers_mb: 256 }
    }

    /// A Postgres that leaves nothing behind, below the system's directory for temporary files.
    pub fn temporary() -> Self {
        Self { data_dir: std::env::temp_dir(), bin_dir: None, mode: Mode::Temporary, shared_buffers_mb: 256 }
    }
}
