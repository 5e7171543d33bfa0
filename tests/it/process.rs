//! The real binary as a child process.

use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reqwest::{Client, Method};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::world::{Answer, MASTER_KEY, answer};

pub(crate) struct Process {
    child: Child,
    pub(crate) api: String,
    /// The admin key, when this start made it.
    pub(crate) key: Option<String>,
    http: Client,
}

impl Process {
    /// Starts `rouse serve` on a database and waits until it is ready.
    pub(crate) async fn start(database_url: &str, environment: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_rouse"))
            .arg("serve")
            .env("ROUSE_DATABASE__URL", database_url)
            .env("ROUSE_SECURITY__MASTER_KEY", MASTER_KEY)
            .env("ROUSE_SERVER__LISTEN", "127.0.0.1:0")
            .env("ROUSE_LOG__FORMAT", "json")
            .env("ROUSE_LOG__FILTER", "info")
            .envs(environment.iter().copied())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut key = None;
        let mut seen = Vec::new();
        let ready = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if line.trim().starts_with("rouse_") {
                    key = Some(line.trim().to_owned());
                }
                let fields = serde_json::from_str::<Value>(&line).unwrap_or_default();
                if fields["fields"]["message"] == "ready" {
                    return Some(fields["fields"]["address"].as_str().unwrap().to_owned());
                }
                seen.push(line);
            }
            None
        };
        let address = tokio::time::timeout(Duration::from_secs(30), ready).await.expect("ready in time");
        let address = address.unwrap_or_else(|| panic!("did not start:\n{}", seen.join("\n")));
        // Its log must be read on, or it would stall on a full pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { child, api: format!("http://{address}"), key, http: Client::builder().no_proxy().build().unwrap() }
    }

    pub(crate) async fn call(&self, method: Method, path: &str, body: Value) -> Answer {
        let key = self.key.as_deref().expect("the first start");
        let request = self.http.request(method, format!("{}{path}", self.api)).bearer_auth(key);
        answer(request.header("content-type", "application/json").body(body.to_string())).await
    }

    /// SIGKILL: no clean-up of any kind.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// SIGTERM, and waits for the end.
    pub(crate) async fn terminate(&mut self) {
        let pid = i32::try_from(self.child.id().expect("running")).unwrap();
        kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
        let status =
            tokio::time::timeout(Duration::from_secs(30), self.child.wait()).await.expect("ends in time").unwrap();
        assert!(status.success(), "{status}");
    }
}
