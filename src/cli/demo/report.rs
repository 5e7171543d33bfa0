//! The report: one JSON object.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::tally::{Counts, Quantiles, Snapshot};
use super::vendors::Activity;

/// What a demo came to. The names are read by scripts: never rename one.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// From ready to the end of the stream.
    pub seconds: f64,
    pub messages_posted: u64,
    /// Messages for which the client holds a 202.
    pub accepted: u64,
    /// Messages posted once more and answered with what they became the first time.
    pub replayed: u64,
    /// Messages never accepted, however often the client tried.
    pub not_accepted: u64,
    pub session_events: u64,
    /// By outcome; `waiting` for those that have not ended.
    pub deliveries: Counts,
    /// Users and devices without a push, by reason.
    pub skipped: Counts,
    /// Outcomes by vendor.
    pub vendors: BTreeMap<String, Counts>,
    /// How fast each vendor's lanes were, beside how slow the vendor was: a slow one delays its own messages only.
    pub lanes: BTreeMap<String, LaneReport>,
    /// What the simulated phones received, by vendor.
    pub inboxes: BTreeMap<String, Inbox>,
    /// Accepted messages with a delivery that neither ended nor waits. Must be 0.
    pub lost: u64,
    /// Deliveries recorded as accepted that no simulated phone received. Must be 0.
    pub phantom: u64,
    /// From the request to the 202.
    pub accept_ms: Quantiles,
    /// From the acceptance, by the notification id's own time, to the arrival at the vendor.
    pub accept_to_vendor_ms: Quantiles,
    /// From the request to the arrival at the vendor.
    pub post_to_vendor_ms: Quantiles,
    /// The most memory this process used, simulators included; `null` where the system does not tell.
    pub rss_peak_mb: Option<f64>,
}

/// The lanes of one vendor together.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct LaneReport {
    /// How long the vendor takes to answer: the shortest and the longest.
    pub vendor_latency_ms: [u64; 2],
    /// From the acceptance to the arrival at this vendor.
    pub accept_to_vendor_ms: Quantiles,
    pub calls: u64,
}

/// The inboxes of one vendor together.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Inbox {
    pub received: u64,
    /// Phones that received something.
    pub tokens: u64,
    /// Received again: the answer of a call was lost, and it was made once more.
    pub duplicates: u64,
}

impl Report {
    pub(super) fn new(
        snapshot: Snapshot,
        inboxes: BTreeMap<String, Inbox>,
        activity: &[Activity],
        ran_for: Duration,
    ) -> Self {
        let numbers = snapshot.numbers;
        let lane = |did: &Activity| {
            let lane = LaneReport {
                vendor_latency_ms: [did.latency.min_ms, did.latency.max_ms],
                accept_to_vendor_ms: snapshot.by_vendor_ms.get(&did.vendor).copied().unwrap_or_default(),
                calls: did.calls,
            };
            (did.vendor.as_str().to_owned(), lane)
        };
        Self {
            seconds: (ran_for.as_secs_f64() * 10.0).round() / 10.0,
            messages_posted: numbers.posted,
            accepted: numbers.accepted,
            replayed: numbers.replayed,
            not_accepted: numbers.not_accepted,
            session_events: numbers.session_events,
            deliveries: numbers.outcomes,
            skipped: numbers.skipped,
            vendors: numbers.vendors,
            lanes: activity.iter().map(lane).collect(),
            inboxes,
            lost: numbers.lost,
            phantom: numbers.phantom,
            accept_ms: snapshot.accept_ms,
            accept_to_vendor_ms: snapshot.accept_to_vendor_ms,
            post_to_vendor_ms: snapshot.post_to_vendor_ms,
            rss_peak_mb: rss_peak_mb(),
        }
    }
}

/// `VmHWM` of Linux, in mebibytes.
fn rss_peak_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u32 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some((f64::from(kib) / 1024.0 * 10.0).round() / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::certificate::VendorKind;
    use crate::simulator::Latency;

    #[test]
    fn the_report_has_every_field_even_when_nothing_happened() {
        let inbox = BTreeMap::from([("xiaomi".to_owned(), Inbox { received: 1, tokens: 1, duplicates: 0 })]);
        let activity = Activity {
            vendor: VendorKind::Meizu,
            received: 0,
            calls: 7,
            refused: 0,
            failed_on_purpose: 0,
            latency: Latency { min_ms: 300, max_ms: 600 },
        };
        let mut report = Report::new(Snapshot::default(), inbox, &[activity], Duration::from_millis(1_234));
        report.rss_peak_mb = None;
        insta::assert_json_snapshot!(report, @r#"
        {
          "seconds": 1.2,
          "messages_posted": 0,
          "accepted": 0,
          "replayed": 0,
          "not_accepted": 0,
          "session_events": 0,
          "deliveries": {},
          "skipped": {},
          "vendors": {},
          "lanes": {
            "meizu": {
              "vendor_latency_ms": [
                300,
                600
              ],
              "accept_to_vendor_ms": {
                "p50": null,
                "p99": null
              },
              "calls": 7
            }
          },
          "inboxes": {
            "xiaomi": {
              "received": 1,
              "tokens": 1,
              "duplicates": 0
            }
          },
          "lost": 0,
          "phantom": 0,
          "accept_ms": {
            "p50": null,
            "p99": null
          },
          "accept_to_vendor_ms": {
            "p50": null,
            "p99": null
          },
          "post_to_vendor_ms": {
            "p50": null,
            "p99": null
          },
          "rss_peak_mb": null
        }
        "#);
    }
}
