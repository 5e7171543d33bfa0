//! The real program as a child process, and a listener that records what a vendor would get.

use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use sqlx::PgPool;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::world::{LIMIT, MASTER_KEY, database_url};

/// `rouse serve` on a free port.
pub(crate) struct Program {
    child: Child,
    pub(crate) address: SocketAddr,
    /// The first admin key, on the first start with a database.
    pub(crate) key: Option<String>,
}

impl Program {
    /// Starts it with this database and the vendor's host, and waits until it is ready.
    pub(crate) async fn start(pool: &PgPool, vendor_url: &str, settings: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_rouse"))
            .arg("serve")
            .env_clear()
            .envs(std::env::vars().filter(|(name, _)| !name.starts_with("ROUSE_")))
            .env("ROUSE_DATABASE__URL", database_url(pool))
            .env("ROUSE_SECURITY__MASTER_KEY", MASTER_KEY)
            .env("ROUSE_SERVER__LISTEN", "127.0.0.1:0")
            .env("ROUSE_LOG__FILTER", "error,rouse::cli=info")
            .env("ROUSE_LOG__FORMAT", "json")
            .env("ROUSE_VENDORS__XIAOMI__CN", vendor_url)
            .envs(settings.iter().map(|(name, value)| (format!("ROUSE_{name}"), *value)))
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
        // The pipe must not fill up.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { child, address, key }
    }

    /// `kill -9`; answers when the process is gone.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// SIGTERM; answers how it ended.
    pub(crate) async fn terminate(mut self) -> ExitStatus {
        let id = i32::try_from(self.child.id().unwrap()).unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(id), nix::sys::signal::Signal::SIGTERM).unwrap();
        tokio::time::timeout(LIMIT + Duration::from_secs(20), self.child.wait()).await.unwrap().unwrap()
    }
}
