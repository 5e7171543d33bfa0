//! What can go wrong with the private Postgres, in words that say what to do.

use std::{io, path::PathBuf};

/// Why the private Postgres could not be started.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    #[error(
        "no database URL is given and no Postgres server (version {minimum} or newer) was found to run a private one.\n\
         Install it:\n  Debian, Ubuntu:  apt-get install postgresql\n  macOS:           brew install postgresql@17\n\
         or give the URL of an existing database as `database.url` (environment: ROUSE_DATABASE__URL).\n\
         Looked for `initdb` and `postgres` in:{}",
        list(looked)
    )]
    NotFound { minimum: u32, looked: Vec<String> },
    #[error("the Postgres server programs in {} cannot be used: {reason}", bin_dir.display())]
    UnusableBinDir { bin_dir: PathBuf, reason: String },
    #[error("the data directory {} is in use by another Rouse server (process {holder})", data_dir.display())]
    Locked { data_dir: PathBuf, holder: String },
    #[error(
        "the database in {} was made by PostgreSQL {made_by}, but here is only PostgreSQL {found}: install PostgreSQL \
         {made_by}, or bring the data over with pg_upgrade or pg_dump", data.display()
    )]
    OtherMajor { data: PathBuf, made_by: u32, found: String },
    #[error("{} holds files, but is not the data directory of a Postgres server", data.display())]
    NotACluster { data: PathBuf },
    #[error(
        "{} belongs to user id {owner}, but Postgres would run as user `{user}`: start Rouse as the user it belongs to, or \
         give the directory to `{user}` (chown -R)", dir.display()
    )]
    ForeignOwner { dir: PathBuf, owner: u32, user: String },
    #[error(
        "Postgres cannot run as root; it has to run as user `{user}`, and that user cannot enter or read {}: choose a place \
         every user can reach (such as /var/lib/rouse for the data directory), or open the way (chmod a+rx)", path.display()
    )]
    NotReachable { path: PathBuf, user: String },
    #[error("Postgres cannot run as root, and there is neither a user `postgres` nor a user `nobody` to run it as")]
    NoUser,
    #[error("the socket directory {} is not a directory of user `{user}` alone: remove it", dir.display())]
    SocketDir { dir: PathBuf, user: String },
    #[error("the path {} is not valid UTF-8", path.display())]
    NotUtf8 { path: PathBuf },
    #[error("initdb could not make the database:\n{log}")]
    Initdb { log: String },
    #[error("Postgres stopped while starting:\n{log}")]
    Exited { log: String },
    #[error("Postgres did not accept connections within {seconds} s; the end of its log:\n{log}")]
    TimedOut { seconds: u64, log: String },
    #[error("the private database could not be created")]
    CreateDatabase(#[source] sqlx::Error),
    #[error("cannot {what} {}", path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },
}

impl EmbeddedError {
    /// For `map_err`: what was tried on which path.
    pub(super) fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }
}

fn list(lines: &[String]) -> String {
    lines.iter().fold(String::new(), |text, line| text + "\n  " + line)
}
