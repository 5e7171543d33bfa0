//! Starts, adopts and stops the private Postgres.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection};
use tokio_util::task::AbortOnDropHandle;

use super::data_dir;
use super::find::{self, Installation};
use super::home::Home;
use super::postmaster::{self, Found};
use super::process::Process;
use super::watcher::Watcher;
use super::{EmbeddedError, EmbeddedOptions, Mode};

/// How often readiness and the end are looked for.
const POLL: Duration = Duration::from_millis(20);
/// A Postgres that says nothing for so long will not start.
const START_PATIENCE: Duration = Duration::from_mins(1);
/// One that says it is recovering after a crash may have gigabytes of log to replay.
const RECOVERY_PATIENCE: Duration = Duration::from_mins(15);
const FAST_SHUTDOWN: Duration = Duration::from_secs(10);
const IMMEDIATE_SHUTDOWN: Duration = Duration::from_secs(5);
const LOG_CHECK: Duration = Duration::from_mins(1);

/// A running private Postgres. Dropping it asks Postgres to stop, [`EmbeddedPostgres::stop`] also waits for that.
#[derive(Debug)]
pub struct EmbeddedPostgres {
    url: String,
    process: Process,
    home: Home,
    socket_dir: PathBuf,
    watcher: Option<Watcher>,
    _log_keeper: AbortOnDropHandle<()>,
    /// Released last: when this value is gone.
    _lock: Option<File>,
}

/// How waiting for readiness ended.
enum Readiness {
    Ready,
    Ended,
    TimedOut(Duration),
}

impl EmbeddedPostgres {
    /// Starts a Postgres, or adopts the one an earlier server left running. Returns when it accepts connections.
    ///
    /// # Errors
    /// No usable Postgres programs, a data directory in use, of another version or out of reach of the user who runs
    /// Postgres, a Postgres that does not start (with the end of its log).
    pub async fn start(options: EmbeddedOptions) -> Result<Self, EmbeddedError> {
        let begin = Instant::now();
        let installations = find::installations(options.bin_dir.as_deref())?;
        let (lock, watcher, home) = match options.mode {
            Mode::Serve => {
                let data_dir = data_dir::make(&options.data_dir)?;
                let lock = data_dir::lock(&data_dir)?;
                (Some(lock), None, Home::prepare(&data_dir).await?)
            }
            Mode::Temporary => {
                let (watcher, home) = Watcher::start(&options.data_dir).await?;
                (None, Some(watcher), home)
            }
        };
        let made_by = home.made_by()?;
        let installation = choose(installations, made_by, &home).await?;
        home.bound_log().await?;
        if made_by.is_none() {
            home.initdb(&installation, options.mode == Mode::Serve).await?;
        }
        let (process, socket_dir) = bring_up(&home, &installation, options.shared_buffers_mb).await?;
        let log_keeper = tokio::spawn(keep_log_bounded(home.clone()));
        let started = Self {
            url: address(&socket_dir, "rouse")?,
            process,
            home,
            socket_dir,
            watcher,
            _log_keeper: AbortOnDropHandle::new(log_keeper),
            _lock: lock,
        };
        tracing::info!(
            pid = started.postmaster_pid(),
            version = installation.major,
            user = started.home.owner.name,
            directory = %started.home.dir.display(),
            adopted = started.was_adopted(),
            elapsed_ms = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX),
            "private Postgres is ready"
        );
        Ok(started)
    }

    /// A URL for sqlx (and psql): database `rouse`, user `rouse`, over the Unix socket.
    pub fn connection_url(&self) -> &str {
        &self.url
    }

    /// Whether Postgres was running already, left by a server that was killed.
    pub fn was_adopted(&self) -> bool {
        self.process.is_adopted()
    }

    /// The process id of the postmaster.
    pub fn postmaster_pid(&self) -> i32 {
        self.process.pid()
    }

    /// Where it lives: cluster, log and (usually) socket.
    pub fn home_dir(&self) -> &Path {
        &self.home.dir
    }

    /// Stops Postgres: open connections are ended, everything is written; after ten seconds without. A temporary one is
    /// gone when this returns.
    pub async fn stop(mut self) {
        let steps = [
            (Signal::SIGINT, FAST_SHUTDOWN),
            (Signal::SIGQUIT, IMMEDIATE_SHUTDOWN),
            (Signal::SIGKILL, IMMEDIATE_SHUTDOWN),
        ];
        for (signal, patience) in steps {
            if !self.process.is_running() {
                break;
            }
            if signal != Signal::SIGINT {
                tracing::warn!(%signal, "private Postgres does not stop");
            }
            self.process.signal(signal);
            let begin = Instant::now();
            while self.process.is_running() && begin.elapsed() < patience {
                tokio::time::sleep(POLL).await;
            }
        }
        if self.socket_dir != self.home.dir {
            // Empty now, and made again by the next start; harmless when it stays.
            std::fs::remove_dir(&self.socket_dir).ok();
        }
        if let Some(watcher) = self.watcher.take() {
            watcher.finish().await;
        }
    }
}

/// The installation for this cluster: of the version that made it, or the preferred one for a new cluster.
async fn choose(
    mut installations: Vec<Installation>,
    made_by: Option<u32>,
    home: &Home,
) -> Result<Installation, EmbeddedError> {
    let found = installations.iter().map(|i| i.major.to_string()).collect::<Vec<_>>().join(", ");
    installations.retain(|installation| made_by.is_none_or(|major| installation.major == major));
    let mut obstacle = None;
    for installation in installations {
        match home.owner.first_obstacle(&installation.program("postgres")).await? {
            None => return Ok(installation),
            Some(path) => obstacle = obstacle.or(Some(path)),
        }
    }
    Err(match (obstacle, made_by) {
        (Some(path), _) => EmbeddedError::NotReachable { path, user: home.owner.name.clone() },
        (None, made_by) => EmbeddedError::OtherMajor { data: home.data(), made_by: made_by.unwrap_or_default(), found },
    })
}

/// Adopts the running Postgres or starts one, until it accepts connections and holds our database.
async fn bring_up(
    home: &Home,
    installation: &Installation,
    shared_buffers_mb: u32,
) -> Result<(Process, PathBuf), EmbeddedError> {
    let begin = Instant::now();
    let new_socket_dir = home.socket_dir().await?;
    loop {
        let log_start = home.log_position();
        let (mut process, socket_dir) = match postmaster::find(&home.data()) {
            Found::Running { pid, socket_dir } => {
                (Process::adopted(pid, home.data()), socket_dir.unwrap_or_else(|| new_socket_dir.clone()))
            }
            found => {
                if found == Found::Stale {
                    let socket_lock = new_socket_dir.join(".s.PGSQL.5432.lock");
                    home.owner
                        .run(&postmaster::disown_script(), [home.data().join("postmaster.pid"), socket_lock])
                        .await?;
                }
                let child = home.launch(installation, &new_socket_dir, shared_buffers_mb)?;
                (Process::child(child, home.data()), new_socket_dir.clone())
            }
        };
        match wait_until_ready(&mut process, &socket_dir).await? {
            Readiness::Ready => return Ok((process, socket_dir)),
            Readiness::TimedOut(patience) => {
                return Err(EmbeddedError::TimedOut { seconds: patience.as_secs(), log: home.log_since(log_start) });
            }
            Readiness::Ended => {
                let log = home.log_since(log_start);
                // One that was shutting down, or the last processes of a killed one: gone in a moment.
                let was_ending = process.is_adopted()
                    || log.contains("lock file")
                    || log.contains("pre-existing shared memory block");
                if !was_ending || begin.elapsed() > START_PATIENCE {
                    return Err(EmbeddedError::Exited { log });
                }
                tokio::time::sleep(POLL).await;
            }
        }
    }
}

/// Waits until the database `rouse` takes connections, and makes it at the first time.
async fn wait_until_ready(process: &mut Process, socket_dir: &Path) -> Result<Readiness, EmbeddedError> {
    let options = connect_options(&address(socket_dir, "rouse")?)?;
    let begin = Instant::now();
    let mut patience = START_PATIENCE;
    loop {
        // A postmaster has our socket to itself; it answers long before it takes connections.
        match tokio::time::timeout(START_PATIENCE, options.connect()).await {
            Ok(Ok(connection)) => {
                connection.close().await.ok();
                return Ok(Readiness::Ready);
            }
            Ok(Err(sqlx::Error::Database(error))) => match error.code().as_deref() {
                Some("3D000") => create_database(socket_dir).await?,
                Some("57P03") => patience = RECOVERY_PATIENCE, // cannot_connect_now: starting, recovering, stopping
                _ => {}
            },
            Ok(Err(_)) | Err(_) => {}
        }
        if !process.is_running() {
            return Ok(Readiness::Ended);
        }
        if begin.elapsed() > patience {
            return Ok(Readiness::TimedOut(patience));
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn create_database(socket_dir: &Path) -> Result<(), EmbeddedError> {
    let options = connect_options(&address(socket_dir, "postgres")?)?;
    let mut connection = options.connect().await.map_err(EmbeddedError::CreateDatabase)?;
    sqlx::raw_sql("CREATE DATABASE rouse").execute(&mut connection).await.map_err(EmbeddedError::CreateDatabase)?;
    connection.close().await.map_err(EmbeddedError::CreateDatabase)
}

fn address(socket_dir: &Path, database: &str) -> Result<String, EmbeddedError> {
    let socket_dir = socket_dir.to_str().ok_or_else(|| EmbeddedError::NotUtf8 { path: socket_dir.to_owned() })?;
    Ok(postmaster::url(socket_dir, database))
}

fn connect_options(url: &str) -> Result<PgConnectOptions, EmbeddedError> {
    PgConnectOptions::from_str(url).map_err(EmbeddedError::CreateDatabase)
}

async fn keep_log_bounded(home: Home) {
    loop {
        tokio::time::sleep(LOG_CHECK).await;
        if let Err(error) = home.bound_log().await {
            tracing::warn!(%error, "cannot shorten the log of the private Postgres");
        }
    }
}
