//! The server and the simulator, each a process of this program, so that what each costs can be told apart.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader, Lines};
use tokio::process::{Child, Command};

use super::home::Home;
use super::{Fallible, say};
use crate::config::Settings;
use crate::domain::certificate::VendorKind;
use crate::vendor::registry::supported;

/// How long a process may take to be ready.
const START_PATIENCE: Duration = Duration::from_mins(2);
/// How long lines that belong together may be apart.
const SOON: Duration = Duration::from_millis(200);
/// How long it may take to stop.
const STOP_PATIENCE: Duration = Duration::from_mins(1);

/// Settings by the names of their variables.
pub(super) type Variables = HashMap<String, String>;

/// A running process; dropping it kills it.
pub(super) struct Program {
    child: Child,
    pid: i32,
}

impl Program {
    fn start(home: &Home, arguments: &[String], variables: &Variables) -> Fallible<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        for (name, _) in std::env::vars_os() {
            // Another database, or another vendor's hosts, must not be used by accident.
            if name.as_encoded_bytes().starts_with(b"ROUSE_") {
                command.env_remove(name);
            }
        }
        command.args(arguments).envs(variables).stdin(Stdio::null()).kill_on_drop(true);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).ok_or("a process has no id")?;
        home.note(pid)?;
        Ok(Self { child, pid })
    }

    /// Its process id.
    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    /// Asks it to stop, and waits.
    pub(super) async fn stop(mut self) -> Fallible<()> {
        kill(Pid::from_raw(self.pid), Signal::SIGTERM)?;
        let status =
            tokio::time::timeout(STOP_PATIENCE, self.child.wait()).await.map_err(|_| "a process does not stop")??;
        if status.success() { Ok(()) } else { Err(format!("a process ended with {status}").into()) }
    }
}

/// The variable of a setting: `vendors.apns.connections` is `ROUSE_VENDORS__APNS__CONNECTIONS`.
pub(super) fn variable(key: &str) -> String {
    format!("ROUSE_{}", key.to_uppercase().replace('.', "__"))
}

/// Starts the stand-ins of all vendors. Answers the settings that point a server at them.
pub(super) async fn simulate(home: &Home, latency_ms: u64) -> Fallible<(Program, Variables)> {
    let ca_file = home.ca_file().display().to_string();
    let latency_ms = latency_ms.to_string();
    let arguments = [
        "simulate",
        "--listen",
        "127.0.0.1:0",
        "--lenient",
        "--counters-only",
        "--latency-ms",
        &latency_ms,
        "--ca-file",
        &ca_file,
    ];
    let mut program = Program::start(home, &arguments.map(str::to_owned), &Variables::new())?;
    let mut lines = lines(program.child.stdout.take())?;
    let mut variables = Variables::new();
    let mut missing: HashSet<&str> = supported().map(VendorKind::as_str).collect();
    // One vendor has several lines: those that belong together come together.
    while let Some(line) = if missing.is_empty() { soon(&mut lines).await? } else { next(&mut lines).await? } {
        let told = line.split_once("  ").and_then(|(vendor, setting)| Some((vendor, setting.split_once('=')?)));
        let (vendor, (name, value)) = told.ok_or_else(|| format!("the simulator said {line}"))?;
        missing.remove(vendor);
        variables.insert(name.to_owned(), value.to_owned());
    }
    if !missing.is_empty() {
        return Err("the simulator ended".into());
    }
    keep_inside(&mut variables)?;
    pass_on("simulator", lines_of_errors(&mut program)?);
    Ok((program, variables))
}

/// Points the hosts that no stand-in listens for at another of their vendor's: nothing leaves this machine.
fn keep_inside(variables: &mut Variables) -> Fallible<()> {
    for (key, _) in Settings::read(None, HashMap::new())?.vendors.hosts()? {
        let of_vendor = key.rsplit_once('.').map(|(vendor, _)| variable(&format!("{vendor}.")));
        let other = of_vendor.and_then(|start| {
            variables.iter().find(|(name, _)| name.starts_with(&start)).map(|(_, value)| value.clone())
        });
        let other = other.ok_or_else(|| format!("{key} is not simulated"))?;
        variables.entry(variable(&key)).or_insert(other);
    }
    Ok(())
}

/// A server that is ready.
pub(super) struct Served {
    pub(super) program: Program,
    pub(super) address: SocketAddr,
    /// An admin key.
    pub(super) key: String,
}

/// Starts a server with a private Postgres.
pub(super) async fn serve(home: &Home, settings: &Variables) -> Fallible<Served> {
    let mut variables = settings.clone();
    for (key, value) in [
        ("embedded.data_dir", home.data_dir().display().to_string()),
        ("server.listen", "127.0.0.1:0".to_owned()),
        ("log.filter", "warn,rouse::cli=info".to_owned()),
        ("log.format", "json".to_owned()),
    ] {
        variables.insert(variable(key), value);
    }
    let mut program = Program::start(home, &["serve".to_owned()], &variables)?;
    let mut lines = lines_of_errors(&mut program)?;
    let mut seen = Vec::new();
    let mut key = None;
    let address = loop {
        let Some(line) = next(&mut lines).await? else {
            return Err(format!("the server ended:\n{}", seen.join("\n")).into());
        };
        if line.trim().starts_with("rouse_") {
            key = Some(line.trim().to_owned());
        } else if let Some(address) = ready_at(&line) {
            break address;
        } else {
            seen.push(line);
        }
    };
    pass_on("server", lines);
    Ok(Served { program, address, key: key.ok_or("the server told no key")? })
}

/// The address in the log line that says that the server is ready.
fn ready_at(line: &str) -> Option<SocketAddr> {
    let line: Value = serde_json::from_str(line).ok()?;
    let fields = line.get("fields")?;
    (fields.get("message")? == "ready").then(|| fields.get("address")?.as_str()?.parse().ok())?
}

fn lines<R: AsyncRead + Unpin>(pipe: Option<R>) -> Fallible<Lines<BufReader<R>>> {
    Ok(BufReader::new(pipe.ok_or("a process has no output")?).lines())
}

fn lines_of_errors(program: &mut Program) -> Fallible<Lines<BufReader<tokio::process::ChildStderr>>> {
    lines(program.child.stderr.take())
}

async fn next<R: AsyncRead + Unpin>(lines: &mut Lines<BufReader<R>>) -> Fallible<Option<String>> {
    Ok(tokio::time::timeout(START_PATIENCE, lines.next_line()).await.map_err(|_| "a process does not get ready")??)
}

/// A line, if one comes soon.
async fn soon<R: AsyncRead + Unpin>(lines: &mut Lines<BufReader<R>>) -> Fallible<Option<String>> {
    match tokio::time::timeout(SOON, lines.next_line()).await {
        Ok(line) => Ok(line?),
        Err(_) => Ok(None),
    }
}

/// What it has to say is shown, and its pipe does not fill up.
fn pass_on(who: &'static str, mut lines: Lines<BufReader<tokio::process::ChildStderr>>) {
    tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            if line.contains(r#""level":"INFO""#) {
                continue;
            }
            say(&format!("{who}: {line}"));
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_address_is_read_from_its_log() {
        let line =
            r#"{"level":"INFO","fields":{"message":"ready","address":"127.0.0.1:4242"},"target":"rouse::cli::serve"}"#;
        assert_eq!(ready_at(line), Some("127.0.0.1:4242".parse().unwrap()));
        assert_eq!(ready_at(r#"{"fields":{"message":"steady","address":"127.0.0.1:1"}}"#), None);
        assert_eq!(ready_at("rouse_key"), None);
        assert_eq!(variable("vendors.apns.connections"), "ROUSE_VENDORS__APNS__CONNECTIONS");
    }

    #[test]
    fn no_host_of_a_vendor_is_left_outside() {
        let told = supported().map(|vendor| {
            let host = if matches!(vendor, VendorKind::Apns) { "production" } else { "any" };
            (variable(&format!("vendors.{vendor}.{host}")), format!("http://{vendor}"))
        });
        let mut variables: Variables = told.collect();
        keep_inside(&mut variables).unwrap();
        assert_eq!(variables[&variable("vendors.xiaomi.ru")], "http://xiaomi");
        assert_eq!(variables[&variable("vendors.apns.sandbox")], "http://apns");
        assert!(keep_inside(&mut Variables::new()).is_err());
    }
}
