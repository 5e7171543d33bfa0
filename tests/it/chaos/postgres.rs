//! A Postgres server of the test's own, which may be stopped and killed. Unlike the one that `./dev test` starts, it keeps
//! what it promises: nothing of its durability is switched off.

use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::{User, geteuid};

/// See the module. Stopped and removed when dropped.
pub(crate) struct Postgres {
    bin: PathBuf,
    dir: PathBuf,
    pub(crate) port: u16,
    /// For the server, e.g. to load another clock into it.
    environment: Vec<(String, String)>,
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The directory of the newest installed server's programs.
fn programs() -> PathBuf {
    let on_path =
        std::env::var_os("PATH").into_iter().flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    let debian =
        std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|dir| dir.path().join("bin"));
    let brew = std::fs::read_dir("/opt/homebrew/opt").into_iter().flatten().flatten().map(|dir| dir.path().join("bin"));
    let has_server = |dir: &PathBuf| dir.join("initdb").is_file() && dir.join("postgres").is_file();
    on_path.chain(debian).chain(brew).filter(has_server).max().unwrap()
}

impl Postgres {
    pub(crate) async fn start() -> Self {
        Self::start_with(Vec::new()).await
    }

    pub(crate) async fn start_with(environment: Vec<(String, String)>) -> Self {
        let port = free_port();
        let dir = std::env::temp_dir().join(format!("rouse-it-{}-{port}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        if let Some(user) = unprivileged() {
            nix::unistd::chown(&dir, Some(user.uid), Some(user.gid)).unwrap();
        }
        let server = Self { bin: programs(), dir, port, environment };
        let data = server.dir.join("data");
        server.run(
            "initdb",
            &["-U", "postgres", "-A", "trust", "--encoding=UTF8", "--locale=C", "--no-sync", "-D"],
            &data,
        );
        let settings = format!(
            "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = ''\nmax_connections = 200\n\
             shared_buffers = 64MB\njit = off\nrestart_after_crash = on\n"
        );
        let file = data.join("postgresql.auto.conf");
        std::fs::write(&file, settings).unwrap();
        server.up().await;
        server
    }

    /// The database of this server.
    pub(crate) fn url(&self) -> String {
        Self::url_at(self.port)
    }

    /// The same through another port.
    pub(crate) fn url_at(port: u16) -> String {
        format!("postgres://postgres@127.0.0.1:{port}/postgres")
    }

    /// Starts it again.
    pub(crate) async fn up(&self) {
        let log = self.dir.join("log");
        let args = ["-w", "-t", "60", "-l", log.to_str().unwrap(), "start", "-D"];
        self.run("pg_ctl", &args, &self.dir.join("data"));
        tokio::task::yield_now().await;
    }

    /// Stops it: `fast` as an administrator does, `immediate` as a crash does.
    pub(crate) fn down(&self, how: &str) {
        self.run("pg_ctl", &["-w", "-t", "60", "-m", how, "stop", "-D"], &self.dir.join("data"));
    }

    fn run(&self, program: &str, args: &[&str], data: &Path) {
        let status = self.command(program, args, data).status().unwrap();
        assert!(status.success(), "{program} {args:?}: {status}");
    }

    fn command(&self, program: &str, args: &[&str], data: &Path) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command.args(args).arg(data).current_dir("/").env("LC_ALL", "C");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if let Some(user) = unprivileged() {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        command
    }
}

/// Postgres does not run as root.
fn unprivileged() -> Option<User> {
    let mut users = ["postgres", "nobody"].iter();
    geteuid().is_root().then(|| users.find_map(|name| User::from_name(name).unwrap()).unwrap())
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let mut stop = self.command("pg_ctl", &["-m", "immediate", "stop", "-D"], &self.dir.join("data"));
        // It may be down already.
        drop(stop.status());
        drop(std::fs::remove_dir_all(&self.dir));
    }
}
