//! `rouse loadtest` as a developer runs it: by itself, with one JSON object on standard output and nothing left behind.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

/// What every report has.
const FIELDS: [&str; 38] = [
    "profile",
    "mix",
    "seconds",
    "devices",
    "backlog",
    "paused_backlog",
    "held_snapshot",
    "connections",
    "asked_rate",
    "vendor_latency_ms",
    "seed_seconds",
    "unit",
    "rate",
    "thirds",
    "requests_per_s",
    "recipients_per_s",
    "raw",
    "ratio",
    "p50_ms",
    "p99_ms",
    "max_ms",
    "vendor_p50_ms",
    "vendor_p99_ms",
    "vendor_ms_seen_by",
    "cpu_us",
    "wal_bytes",
    "rss_idle_mb",
    "rss_peak_mb",
    "accepted",
    "outcomes",
    "lost",
    "left",
    "refused",
    "errors",
    "late",
    "machine",
    // Fields of fields.
    "cpu_us/rouse",
    "machine/postgres",
];

/// The command, and an empty directory for what it keeps.
fn loadtest(arguments: &[&str]) -> (Command, PathBuf) {
    let temporary = std::env::temp_dir().join(format!("rouse-lt-{:x}", rand::random::<u32>()));
    std::fs::create_dir(&temporary).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_rouse"));
    command.arg("loadtest").args(arguments).args(["--report", "json"]).env("TMPDIR", &temporary);
    // Whatever a developer points Rouse at is not measured, and not written to.
    command.env("ROUSE_DATABASE__URL", "postgres://nobody@127.0.0.1:1/nothing");
    command.stdin(Stdio::null()).kill_on_drop(true);
    (command, temporary)
}

async fn report(arguments: &[&str]) -> Value {
    let (mut command, temporary) = loadtest(arguments);
    let run = command.output();
    let output = tokio::time::timeout(Duration::from_mins(2), run).await.unwrap().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    for field in FIELDS {
        assert!(report.pointer(&format!("/{field}")).is_some(), "{field} is missing: {report}");
    }
    assert_eq!((&report["lost"], &report["left"]), (&Value::from(0), &Value::from(0)), "{report}");
    assert_eq!((&report["errors"], &report["refused"]), (&Value::from(0), &Value::from(0)), "{report}");
    std::fs::remove_dir(&temporary).unwrap(); // it would not go with something in it
    report
}

#[tokio::test]
async fn a_load_of_single_notifications_is_measured_and_loses_nothing() {
    let report = report(&[
        "--profile",
        "single",
        "--for",
        "2s",
        "--devices",
        "200",
        "--connections",
        "4",
        "--raw-for",
        "1s",
        "--backlog",
        "100",
        "--paused-backlog",
        "--held-snapshot",
        "--mix",
        "apns=1,xiaomi=1",
    ])
    .await;
    assert_eq!(
        (&report["devices"], &report["backlog"], &report["unit"]),
        (&200.into(), &100.into(), &"deliveries".into())
    );
    for number in ["rate", "p50_ms", "p99_ms", "wal_bytes", "accepted", "requests_per_s"] {
        assert!(report[number].as_f64() > Some(0.0), "{number}: {report}");
    }
    assert!(report["raw"]["rate"].as_f64() > Some(0.0) && report["raw"]["failed"] == 0, "{report}");
    assert_eq!(report["vendor_ms_seen_by"], "stand-in", "{report}");
    let ended: i64 = report["outcomes"].as_object().unwrap().values().filter_map(Value::as_i64).sum();
    assert!(ended > 0 && report["outcomes"]["accepted"].as_i64().unwrap() * 2 > ended, "{report}");
    if cfg!(target_os = "linux") {
        for part in ["rouse", "postgres", "simulator", "generator"] {
            assert!(report["cpu_us"][part].as_f64() > Some(0.0), "{part}: {report}");
        }
        assert!(report["rss_peak_mb"].as_f64() >= report["rss_idle_mb"].as_f64(), "{report}");
    }
}

#[tokio::test]
async fn a_load_of_session_events_is_measured() {
    let report = report(&["--profile", "sessions", "--for", "2s", "--devices", "500", "--connections", "2"]).await;
    assert_eq!((&report["unit"], &report["raw"]), (&"events".into(), &Value::Null), "{report}");
    assert!(report["rate"].as_f64() > Some(0.0) && report["accepted"].as_u64() > Some(0), "{report}");
}

#[tokio::test]
async fn nothing_outlives_a_load_that_is_killed() {
    let (mut command, temporary) = loadtest(&["--profile", "single", "--devices", "10", "--raw-for", "0s"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    while !lines.next_line().await.unwrap().unwrap().contains("load for") {}
    let home = std::fs::read_dir(&temporary).unwrap().next().unwrap().unwrap().path();
    let pids = std::fs::read_to_string(home.join("pids")).unwrap();
    let postmaster = std::fs::read_to_string(home.join("postgres/data/postmaster.pid")).unwrap();
    child.kill().await.unwrap();
    let is_alive = |pid: &str| nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid.parse().unwrap()), None).is_ok();
    tokio::time::timeout(Duration::from_secs(30), async {
        while home.exists() || pids.lines().chain(postmaster.lines().take(1)).any(is_alive) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .unwrap();
    std::fs::remove_dir(&temporary).unwrap();
}
