//! The directory that belongs to Postgres: cluster, log, socket.

use std::ffi::OsString;
use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Child;

use super::EmbeddedError;
use super::find::Installation;
use super::owner::Owner;

/// Longest path of a Unix socket: Linux takes 107 bytes, macOS 103.
const SOCKET_PATH_BYTES: usize = 103;
/// A log longer than this is moved to `postgres.log.1`.
const LOG_BYTES: u64 = 16 << 20;
/// As much of the log goes into an error text.
const LOG_TAIL_LINES: usize = 15;

/// Notes its process id, then becomes the program. When the directory is gone (a temporary one whose owner was killed in
/// this very moment) nothing is started.
const LAUNCH: &str = r#"umask 077
exec </dev/null >>"$1/postgres.log" 2>&1 || exit 1
echo $$ >"$1/launched.pid" || exit 1
shift
exec "$@""#;

#[derive(Debug, Clone)]
pub(super) struct Home {
    pub(super) dir: PathBuf,
    pub(super) owner: Owner,
}

impl Home {
    pub(super) fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    fn log(&self) -> PathBuf {
        self.dir.join("postgres.log")
    }

    /// Makes the directory for Postgres below the server's data directory, and sees that its user can get there.
    pub(super) async fn prepare(data_dir: &Path) -> Result<Self, EmbeddedError> {
        let dir = data_dir.join("postgres");
        if let Ok(meta) = fs::symlink_metadata(&dir)
            && meta.is_dir()
            && meta.uid() == 0
            && fs::read_dir(&dir).is_ok_and(|mut entries| entries.next().is_none())
        {
            // Made by root in an earlier start that was killed before giving it away.
            fs::remove_dir(&dir).map_err(EmbeddedError::io("remove", &dir))?;
        }
        let owner = Owner::for_existing(&dir)?;
        if !dir.exists() {
            fs::DirBuilder::new().mode(0o700).create(&dir).map_err(EmbeddedError::io("create", &dir))?;
            if owner.drop_privileges {
                // Our own directory holds it, so nobody can have put a link in its place.
                chown(&dir, Some(owner.uid), Some(owner.gid)).map_err(EmbeddedError::io("give away", &dir))?;
            }
            sync_dir(data_dir)?;
        }
        let mut obstacle = owner.first_obstacle(&dir).await?;
        if obstacle.as_deref() == Some(data_dir) {
            // Our own directory may be passed (not listed) by others; what is secret in it is 0600 itself.
            let mode = fs::metadata(data_dir).map_err(EmbeddedError::io("read", data_dir))?.permissions().mode();
            fs::set_permissions(data_dir, fs::Permissions::from_mode(mode | 0o011))
                .map_err(EmbeddedError::io("open", data_dir))?;
            obstacle = owner.first_obstacle(&dir).await?;
        }
        match obstacle {
            Some(path) => Err(EmbeddedError::NotReachable { path, user: owner.name }),
            None => Ok(Self { dir, owner }),
        }
    }

    /// The major version that made the cluster, `None` when there is none yet.
    pub(super) fn made_by(&self) -> Result<Option<u32>, EmbeddedError> {
        let data = self.data();
        if fs::read_dir(&data).map_or(true, |mut entries| entries.next().is_none()) {
            return Ok(None);
        }
        let version = fs::read_to_string(data.join("PG_VERSION")).unwrap_or_default();
        version.trim().parse().map(Some).map_err(|_| EmbeddedError::NotACluster { data })
    }

    /// Makes the cluster beside its place and moves it there when it is complete, so that a crash leaves nothing half
    /// done that looks finished.
    pub(super) async fn initdb(&self, installation: &Installation, durable: bool) -> Result<(), EmbeddedError> {
        let new = self.dir.join(format!("new-{:08x}", rand::random::<u32>()));
        self.owner.run(r#"rm -rf -- "$1"/new-*"#, [&self.dir]).await?;
        let start = self.log_position();
        let mut arguments: Vec<OsString> = vec!["-D".into(), new.clone().into()];
        arguments.extend(["--username=rouse", "--encoding=UTF8", "--locale=C"].map(OsString::from));
        // Only who may pass the private directory reaches the socket, and there is no other way in.
        arguments.extend(["--auth-local=trust", "--auth-host=reject"].map(OsString::from));
        arguments.extend((!durable).then(|| OsString::from("--no-sync")));
        let command = self.launch_command(&installation.program("initdb"), arguments);
        // Killed when the start is given up; its leftovers are removed by the next one.
        let status = tokio::process::Command::from(command).kill_on_drop(true).status().await;
        if !status.map_err(EmbeddedError::io("run", installation.program("initdb")))?.success() {
            return Err(EmbeddedError::Initdb { log: self.log_since(start) });
        }
        fs::rename(&new, self.data()).map_err(EmbeddedError::io("move into place", &new))?;
        if durable { sync_dir(&self.dir) } else { Ok(()) }
    }

    /// Starts `postgres`; it is not ready yet.
    pub(super) fn launch(
        &self,
        installation: &Installation,
        socket_dir: &Path,
        shared_buffers_mb: u32,
    ) -> Result<Child, EmbeddedError> {
        let mut arguments: Vec<OsString> = vec!["-D".into(), self.data().into()];
        for setting in settings(socket_dir, shared_buffers_mb) {
            arguments.extend(["-c".into(), setting]);
        }
        let program = installation.program("postgres");
        self.launch_command(&program, arguments).spawn().map_err(EmbeddedError::io("run", program))
    }

    fn launch_command(&self, program: &Path, arguments: Vec<OsString>) -> std::process::Command {
        let before: [OsString; 2] = [self.dir.clone().into(), program.into()];
        self.owner.shell(LAUNCH, before.into_iter().chain(arguments))
    }

    /// Where the socket goes: here, or where the path is short enough.
    pub(super) async fn socket_dir(&self) -> Result<PathBuf, EmbeddedError> {
        if fits_socket(&self.dir) {
            return Ok(self.dir.clone());
        }
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, self.dir.as_os_str().as_encoded_bytes());
        let name = digest.as_ref().iter().take(8).fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        let dir = PathBuf::from(format!("/tmp/rouse-{name}"));
        self.owner.run(r#"umask 077; mkdir -- "$1" 2>/dev/null || :"#, [&dir]).await?;
        // Anybody can make that directory before us; then it is not ours, or not a directory.
        let ours = fs::symlink_metadata(&dir)
            .is_ok_and(|meta| meta.is_dir() && meta.uid() == self.owner.uid && meta.mode() & 0o777 == 0o700);
        if ours { Ok(dir) } else { Err(EmbeddedError::SocketDir { dir, user: self.owner.name.clone() }) }
    }

    pub(super) fn log_position(&self) -> u64 {
        fs::metadata(self.log()).map_or(0, |meta| meta.len())
    }

    /// The last lines written to the log since it had this length.
    pub(super) fn log_since(&self, position: u64) -> String {
        let mut bytes = Vec::new();
        let read = fs::File::open(self.log()).and_then(|mut file| {
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(position.max(length.saturating_sub(16 << 10)).min(length)))?;
            file.read_to_end(&mut bytes)
        });
        if let Err(error) = read {
            return format!("(no log: {error})");
        }
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
    }

    /// Keeps the log from filling the disk. Postgres appends, so that an emptied file is written from its start again.
    pub(super) async fn bound_log(&self) -> Result<(), EmbeddedError> {
        if self.log_position() > LOG_BYTES {
            self.owner.run(r#"cp -f -- "$1" "$1.1"; : >"$1""#, [self.log()]).await?;
        }
        Ok(())
    }
}

/// Whether a socket in this directory has a path the system takes.
pub(super) fn fits_socket(dir: &Path) -> bool {
    dir.as_os_str().len() + "/.s.PGSQL.5432".len() <= SOCKET_PATH_BYTES
}

/// Makes new names in this directory survive a power cut.
fn sync_dir(dir: &Path) -> Result<(), EmbeddedError> {
    fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(EmbeddedError::io("sync", dir))
}

/// Given on the command line, so that they hold for every start, whatever the configuration file says.
fn settings(socket_dir: &Path, shared_buffers_mb: u32) -> Vec<OsString> {
    // The value is a list; a quoted element may hold commas and spaces.
    let mut sockets = OsString::from("unix_socket_directories=\"");
    sockets.push(socket_dir);
    sockets.push("\"");
    let mut settings = vec![sockets, format!("shared_buffers={shared_buffers_mb}MB").into()];
    settings.extend(
        [
            "cluster_name=rouse",
            "listen_addresses=",
            "port=5432",
            "unix_socket_permissions=0700",
            "max_connections=64",
            // What was answered with 202 survives a power cut.
            "fsync=on",
            "synchronous_commit=on",
            "full_page_writes=on",
            "max_wal_size=4GB",
            "wal_compression=on",
            // The queue tables turn over completely within seconds.
            "autovacuum=on",
            "autovacuum_naptime=10s",
            "idle_in_transaction_session_timeout=60s",
            "jit=off",
            "timezone=UTC",
            "log_timezone=UTC",
            "logging_collector=off",
            "log_destination=stderr",
            "log_checkpoints=off",
            "log_autovacuum_min_duration=-1",
            // Details and statements of an error may hold device tokens.
            "log_error_verbosity=terse",
            "log_min_error_statement=panic",
        ]
        .map(OsString::from),
    );
    settings
}
