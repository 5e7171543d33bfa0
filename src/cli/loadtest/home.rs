//! The directory of a run: the server's data and the simulator's certificate. It goes when the run ends, however that is.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};

use super::{Fallible, say};

/// How long a Postgres that lost its server may take to end.
const PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);

/// Waits for the end of its input, which ends with this process, however that is killed. If the directory is still there
/// then, nobody else will see to it.
const WATCH: &str = r#"cat >/dev/null
[ -d "$1" ] || exit 0
for pid in $(cat "$1/pids"); do kill -9 "$pid"; done
pid=$(head -n 1 "$1/postgres/data/postmaster.pid") && kill -QUIT "$pid" && sleep 1
rm -rf -- "$1""#;

/// See the module.
pub(super) struct Home {
    path: PathBuf,
    watcher: Child,
}

impl Home {
    /// Makes it among the temporary files.
    pub(super) fn make() -> io::Result<Self> {
        // Short: the path of a socket may have no more than 103 bytes.
        let path = std::env::temp_dir().join(format!("rouse-load-{:08x}", rand::random::<u32>()));
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        let mut watch = Command::new("sh");
        watch.args(["-c", WATCH, "sh"]).arg(&path).process_group(0);
        let watcher = watch.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        Ok(Self { path, watcher })
    }

    /// Notes a process that must not outlive this one.
    pub(super) fn note(&self, pid: i32) -> io::Result<()> {
        writeln!(OpenOptions::new().create(true).append(true).open(self.path.join("pids"))?, "{pid}")
    }

    /// Where the server keeps its data.
    pub(super) fn data_dir(&self) -> &Path {
        &self.path
    }

    /// Where the simulator writes the certificate of its authority.
    pub(super) fn ca_file(&self) -> PathBuf {
        self.path.join("ca.pem")
    }

    /// The server's master key.
    pub(super) fn master_key(&self) -> io::Result<String> {
        std::fs::read_to_string(self.path.join("master.key"))
    }

    /// Connects to the server's private Postgres.
    pub(super) async fn connect(&self) -> Fallible<PgConnection> {
        let (_, lock_file) = self.running().ok_or("the server has no private Postgres")?;
        // The fifth line: elsewhere than usual if the directory's path is too long.
        let socket_dir = lock_file.lines().nth(4).ok_or("the private Postgres has no socket")?;
        let options = PgConnectOptions::new().socket(socket_dir).port(5432).username("rouse").database("rouse");
        Ok(options.application_name("loadtest").connect().await?)
    }

    /// The process id of the private Postgres, while there is one.
    pub(super) fn postmaster(&self) -> Option<i32> {
        Some(self.running()?.0)
    }

    fn running(&self) -> Option<(i32, String)> {
        let data = self.path.join("postgres/data");
        let lock_file = std::fs::read_to_string(data.join("postmaster.pid")).ok()?;
        let pid = lock_file.lines().next()?.trim().parse().ok()?;
        // The number may be another program's by now.
        let arguments = std::fs::read(format!("/proc/{pid}/cmdline"));
        let is_ours = match arguments {
            Ok(list) => list.split(|byte| *byte == 0).any(|argument| argument == data.as_os_str().as_encoded_bytes()),
            Err(_) => !Path::new("/proc/self").exists(),
        };
        is_ours.then_some((pid, lock_file))
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // A server that was killed leaves its Postgres running.
        let begin = Instant::now();
        while let Some(pid) = self.postmaster()
            && begin.elapsed() < PATIENCE
        {
            // Nothing in it is worth a shutdown in order.
            if kill(Pid::from_raw(pid), Signal::SIGQUIT).is_err() {
                break;
            }
            std::thread::sleep(POLL);
        }
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            say(&format!("{} stays: {error}", self.path.display()));
        }
        // It finds no directory, and ends.
        if let Err(error) = self.watcher.wait() {
            say(&format!("cannot wait for the watching shell: {error}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_it_stays() {
        let home = Home::make().unwrap();
        let path = home.data_dir().to_owned();
        std::fs::write(home.ca_file(), "x").unwrap();
        std::fs::create_dir_all(path.join("postgres/data")).unwrap();
        let other = std::process::id();
        std::fs::write(path.join("postgres/data/postmaster.pid"), format!("{other}\n")).unwrap();
        assert_eq!(home.postmaster(), None, "another program has this process id");
        drop(home);
        assert!(!path.exists());
    }
}
