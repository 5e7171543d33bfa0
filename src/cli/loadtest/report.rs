//! The report: one JSON object, or a table of the same.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;

use super::course::Course;
use super::curve::Point;
use super::machine::Machine;
use super::options::{LoadtestArgs, Unit};
use super::process::Cpu;
use super::raw::Raw;
use super::setup::Seeded;
use crate::store::bulk::Ended;

/// What a run came to; docs/performance.md explains each field. The names are read by scripts: never rename one.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    profile: &'static str,
    mix: String,
    seconds: f64,
    devices: u64,
    backlog: u64,
    paused_backlog: bool,
    held_snapshot: bool,
    connections: u32,
    asked_rate: Option<u32>,
    vendor_latency_ms: u64,
    seed_seconds: f64,
    unit: &'static str,
    rate: f64,
    thirds: [f64; 3],
    requests_per_s: f64,
    recipients_per_s: f64,
    raw: Option<Raw>,
    ratio: Option<f64>,
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
    max_ms: Option<f64>,
    vendor_p50_ms: Option<f64>,
    vendor_p99_ms: Option<f64>,
    vendor_ms_seen_by: Option<&'static str>,
    cpu_us: CpuUs,
    wal_bytes: Option<f64>,
    rss_idle_mb: Option<f64>,
    rss_peak_mb: Option<f64>,
    accepted: u64,
    outcomes: BTreeMap<String, i64>,
    lost: u64,
    left: u64,
    refused: u64,
    errors: u64,
    late: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    curve: Vec<Point>,
    machine: Machine,
}

/// Processor time of a delivery, or event, in microseconds.
#[derive(Debug, Serialize)]
struct CpuUs {
    rouse: Option<f64>,
    postgres: Option<f64>,
    simulator: Option<f64>,
    generator: Option<f64>,
}

impl Report {
    pub(super) fn new(args: &LoadtestArgs, seeded: Seeded, raw: Option<Raw>, course: Course, machine: Machine) -> Self {
        let Course { numbers, before, after, ended, ended_in_all, left, rss_idle_mb, rss_peak_mb, curve } = course;
        let unit = args.profile.unit();
        let asked_seconds = args.run_for.as_secs_f64();
        let measured = after.moment.at - before.moment.at;
        // Deliveries are counted where they ended, in the time between two readings of the database's clock; events where they
        // were answered.
        let (units, seconds) = match unit {
            Unit::Deliveries => (of_thirds(&ended), measured.as_seconds_f64()),
            Unit::Events => (numbers.units, asked_seconds),
        };
        let all: u64 = units.iter().sum();
        let accepted = numbers.units_in_all;
        let lost = match unit {
            Unit::Deliveries => accepted.saturating_sub(ended_in_all),
            Unit::Events => numbers.missing,
        };
        let mut outcomes: BTreeMap<String, i64> = BTreeMap::new();
        for ended in &ended {
            *outcomes.entry(outcome(&ended.kind, ended.reason.as_deref())).or_default() += ended.count;
        }
        let vendor = after.lags.since(&before.lags).filter(|_| unit == Unit::Deliveries);
        let cpu = |of: fn(&Cpu) -> Option<u64>| per_unit(of(&before.cpu), of(&after.cpu), all);
        let rate_of_all = rate(all, seconds);
        Self {
            profile: args.profile.as_str(),
            mix: args.shares().to_string(),
            seconds,
            devices: seeded.devices,
            backlog: seeded.backlog,
            paused_backlog: args.paused_backlog,
            held_snapshot: args.held_snapshot,
            connections: args.connection_count(),
            asked_rate: args.pace(),
            vendor_latency_ms: args.vendor_latency_ms,
            seed_seconds: seeded.took.as_secs_f64(),
            unit: unit.as_str(),
            rate: rate_of_all,
            thirds: units.map(|units| rate(units, seconds / 3.0)),
            requests_per_s: rate(numbers.answered, asked_seconds),
            recipients_per_s: rate(numbers.answered * u64::from(args.profile.size()), asked_seconds),
            ratio: raw.as_ref().map(|raw| rate_of_all / raw.rate).filter(|ratio| ratio.is_finite()),
            raw,
            p50_ms: numbers.quantile_ms(0.5),
            p99_ms: numbers.quantile_ms(0.99),
            max_ms: numbers.quantile_ms(1.0),
            vendor_p50_ms: vendor.map(|vendor| vendor.p50_ms),
            vendor_p99_ms: vendor.map(|vendor| vendor.p99_ms),
            vendor_ms_seen_by: vendor.map(|vendor| vendor.seen_by),
            cpu_us: CpuUs {
                rouse: cpu(|cpu| cpu.rouse),
                postgres: cpu(|cpu| cpu.postgres),
                simulator: cpu(|cpu| cpu.simulator),
                generator: cpu(|cpu| cpu.generator),
            },
            wal_bytes: per_unit(bytes(before.moment.wal_bytes), bytes(after.moment.wal_bytes), all),
            rss_idle_mb,
            rss_peak_mb,
            accepted,
            outcomes,
            lost,
            left,
            refused: numbers.refused,
            errors: numbers.broken,
            late: numbers.late,
            curve,
            machine,
        }
    }

    /// Deliveries without an end, or events without a result.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// A line for each field, by name.
    pub(super) fn table(&self) -> serde_json::Result<String> {
        let mut table = String::new();
        if let Value::Object(fields) = serde_json::to_value(self)? {
            rows(&mut table, "", &fields);
        }
        Ok(table)
    }
}

fn rows(table: &mut String, prefix: &str, fields: &serde_json::Map<String, Value>) {
    for (name, value) in fields {
        let name = format!("{prefix}{name}");
        let shown = match value {
            Value::Object(fields) => {
                rows(table, &format!("{name}."), fields);
                continue;
            }
            // It was told line by line.
            Value::Array(_) if name == "curve" => continue,
            Value::Number(number) if number.is_f64() => number.as_f64().map_or_else(String::new, short),
            Value::Array(items) => items.iter().filter_map(Value::as_f64).map(short).collect::<Vec<_>>().join(" "),
            Value::String(text) => text.clone(),
            Value::Null => "-".to_owned(),
            other => other.to_string(),
        };
        let _infallible = writeln!(table, "{name:<24}{shown}");
    }
}

fn short(number: f64) -> String {
    if number.abs() < 100.0 { format!("{number:.2}") } else { format!("{number:.0}") }
}

/// How a delivery ended: the vendor's answer, or what became of it without one.
fn outcome(kind: &str, reason: Option<&str>) -> String {
    match reason {
        Some(reason) if kind == "attempt" => reason.to_owned(),
        Some(reason) => format!("{kind}: {reason}"),
        None => kind.to_owned(),
    }
}

fn of_thirds(ended: &[Ended]) -> [u64; 3] {
    let mut thirds = [0; 3];
    for ended in ended {
        let third = usize::try_from(ended.third - 1).unwrap_or_default().min(2);
        thirds[third] += u64::try_from(ended.count).unwrap_or_default();
    }
    thirds
}

fn bytes(position: i64) -> Option<u64> {
    u64::try_from(position).ok()
}

/// So many in so many seconds, a second.
#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
pub(super) fn rate(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

/// What was used between two readings, for each of so many.
#[expect(clippy::cast_precision_loss, reason = "counts and microseconds far below 2^52")]
pub(super) fn per_unit(before: Option<u64>, after: Option<u64>, units: u64) -> Option<f64> {
    let used = after?.saturating_sub(before?);
    (units > 0).then(|| used as f64 / units as f64)
}

/// Bytes in MiB.
#[expect(clippy::cast_precision_loss, reason = "sizes far below 2^52")]
pub(super) fn megabytes(bytes: i64) -> f64 {
    bytes as f64 / 1_048_576.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rates_and_shares_of_nothing_are_nothing() {
        assert_eq!((rate(10, 0.0), rate(10, 4.0)), (0.0, 2.5));
        assert_eq!(per_unit(Some(1_000), Some(3_000), 10), Some(200.0));
        assert_eq!((per_unit(Some(1), Some(2), 0), per_unit(None, Some(2), 1)), (None, None));
    }

    #[test]
    fn endings_are_named_and_counted_by_third() {
        assert_eq!(outcome("attempt", Some("accepted")), "accepted");
        assert_eq!(outcome("cancelled", Some("superseded_by_newer")), "cancelled: superseded_by_newer");
        let of = |third, count| Ended { third, kind: "attempt".to_owned(), reason: None, count };
        assert_eq!(of_thirds(&[of(1, 5), of(3, 2), of(1, 1)]), [6, 0, 2]);
    }

    #[test]
    fn the_table_has_a_line_for_each_number() {
        let fields = json!({"rate": 8_123.4, "cpu_us": {"rouse": 61.238}, "curve": [1], "raw": null, "lost": 0, "thirds": [1.0, 2.0]});
        let mut table = String::new();
        rows(&mut table, "", fields.as_object().unwrap());
        for line in [
            "rate                    8123",
            "cpu_us.rouse            61.24",
            "raw                     -",
            "lost                    0",
        ] {
            assert!(table.contains(line), "{table}");
        }
        assert!(table.contains("1.00 2.00") && !table.contains("curve"));
    }
}
