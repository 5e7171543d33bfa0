//! `rouse demo` as a newcomer runs it: by itself, with one JSON object on standard output and nothing left behind.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;

#[tokio::test]
async fn the_demo_ends_by_itself_and_loses_nothing() {
    let run = Command::new(env!("CARGO_BIN_EXE_rouse"))
        .args(["demo", "--for", "3s", "--report", "json", "--rate", "100"])
        .env_clear()
        .envs(std::env::vars().filter(|(name, _)| !name.starts_with("ROUSE_")))
        .env("ROUSE_SERVER__LISTEN", "127.0.0.1:0")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(Duration::from_mins(1), run).await.unwrap().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["lost"], &report["phantom"]), (&Value::from(0), &Value::from(0)), "{report}");
    let number = |value: &Value| value.as_u64().unwrap_or_default();
    assert!(number(&report["accepted"]) > 30, "{report}");
    for vendor in ["apns", "xiaomi"] {
        let pushed = number(&report["vendors"][vendor]["accepted"]);
        assert!(pushed > 0 && pushed <= number(&report["inboxes"][vendor]["received"]), "{vendor}: {report}");
    }
    for reason in ["foreground", "background", "logged_out", "kicked", "no_device", "no_token", "binding_pending"] {
        assert!(number(&report["skipped"][reason]) > 0, "{reason}: {report}");
    }
    for times in ["accept_ms", "accept_to_vendor_ms"] {
        assert!(report[times]["p50"].as_f64() > Some(0.0) && report[times]["p99"].is_number(), "{report}");
    }
    assert!(told.contains("http://127.0.0.1:"), "the address is printed: {told}");
    assert_eq!(told.matches("panicked").count(), 0, "{told}");
}
