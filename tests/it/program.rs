//! The real program as a child process.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::PgPool;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::world::{LIMIT, MASTER_KEY, database_url};

/// How many of the last log lines are kept, for the message of a test that fails.
const LOG_LINES: usize = 200;

/// `rouse serve` on a free port.
pub(crate) struct Program {
    child: Child,
    pub(crate) address: SocketAddr,
    /// The first admin key, on the first start with a database.
    pub(crate) key: Option<String>,
    log: Arc<Mutex<VecDeque<String>>>,
}

impl Program {
    /// Starts it with this database and the vendor's host, and waits until it is ready.
    pub(crate) async fn start(pool: &PgPool, vendor_url: &str, settings: &[(&str, &str)]) -> Self {
        let mut all = vec![("VENDORS__XIAOMI__CN", vendor_url)];
        all.extend(settings);
        Self::launch(&database_url(pool), all.into_iter(), std::iter::empty()).await
    }

    /// The same with settings alone (`("DISPATCH__LANE_CAPACITY", "5")`) and other variables of the environment.
    pub(crate) async fn launch<'a>(
        database_url: &str,
        settings: impl Iterator<Item = (&'a str, &'a str)>,
        environment: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_rouse"))
            .arg("serve")
            .env_clear()
            .envs(std::env::vars().filter(|(name, _)| !name.starts_with("ROUSE_")))
            .env("ROUSE_DATABASE__URL", database_url)
            .env("ROUSE_SECURITY__MASTER_KEY", MASTER_KEY)
            .env("ROUSE_SERVER__LISTEN", "127.0.0.1:0")
            .env("ROUSE_LOG__FILTER", "warn,rouse::cli=info")
            .env("ROUSE_LOG__FORMAT", "json")
            .envs(settings.map(|(name, value)| (format!("ROUSE_{name}"), value)))
            .envs(environment)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut key = None;
        let mut seen = Vec::new();
        let address = loop {
            let line = tokio::time::timeout(LIMIT, lines.next_line()).await.unwrap().unwrap();
            let line = line.unwrap_or_else(|| unreachable!("the program ended: {seen:?}"));
            if line.trim().starts_with("rouse_") {
                key = Some(line.trim().to_owned());
            }
            let told: Option<serde_json::Value> = serde_json::from_str(&line).ok();
            if let Some(told) = told.filter(|told| told["fields"]["message"] == "ready") {
                break told["fields"]["address"].as_str().unwrap().parse().unwrap();
            }
            seen.push(line);
        };
        let log = Arc::new(Mutex::new(VecDeque::new()));
        let kept = Arc::clone(&log);
        // The pipe must not fill up.
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let mut kept = kept.lock().unwrap();
                if kept.len() == LOG_LINES {
                    kept.pop_front();
                }
                kept.push_back(line);
            }
        });
        Self { child, address, key, log }
    }

    /// The last lines it logged.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().iter().cloned().collect()
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id().unwrap()).unwrap())
    }

    fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// SIGSTOP: it stands still, with everything it has open.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// SIGCONT.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// The memory it uses now, in MiB.
    pub(crate) fn rss_mb(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0");
        let kib: f64 = line.trim().trim_end_matches("kB").trim().parse().unwrap_or_default();
        kib / 1024.0
    }

    /// `kill -9`; answers when the process is gone.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// SIGTERM; answers how it ended.
    pub(crate) async fn terminate(mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        tokio::time::timeout(LIMIT + Duration::from_secs(20), self.child.wait()).await.unwrap().unwrap()
    }
}
