//! How long deliveries take from acceptance to their vendor.
//!
//! APNs' stand-in knows it: the delivery's id comes with the request and tells when it was accepted, and both clocks are this
//! machine's. Other vendors' requests tell no time: there the server's own histogram is read, which ends where the call starts.

use std::collections::BTreeMap;

use serde_json::Value;

/// The server's histogram.
const METRIC: &str = "push_delivery_lag_seconds_bucket";

/// How many deliveries took how long, so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Lags {
    /// By milliseconds, seen by the stand-in.
    seen: BTreeMap<u64, u64>,
    /// By the upper edge of the bucket in microseconds, counted by the server; all vendors together.
    counted: BTreeMap<u64, u64>,
}

/// What is told of a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Quantiles {
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    /// `stand-in`, or `server`: the upper edges of the buckets.
    pub(super) seen_by: &'static str,
}

impl Lags {
    /// Takes what a stand-in's state tells.
    pub(super) fn read_ages(&mut self, state: &Value) {
        for pair in state.get("ages_ms").and_then(Value::as_array).into_iter().flatten() {
            if let (Some(ms), Some(count)) = (pair.get(0).and_then(Value::as_u64), pair.get(1).and_then(Value::as_u64))
            {
                *self.seen.entry(ms).or_default() += count;
            }
        }
    }

    /// Takes what the server's metrics tell.
    pub(super) fn read_metrics(&mut self, text: &str) {
        for line in text.lines().filter_map(|line| line.strip_prefix(METRIC)) {
            let Some((labels, count)) = line.rsplit_once(' ') else { continue };
            let edge = labels.split("le=\"").nth(1).and_then(|rest| rest.split('"').next());
            let (Some(edge), Ok(count)) = (edge, count.parse::<u64>()) else { continue };
            let edge_us = edge.parse::<f64>().ok().filter(|edge| edge.is_finite()).map_or(u64::MAX, micros);
            *self.counted.entry(edge_us).or_default() += count;
        }
    }

    /// What was added since, in quantiles; `None`: nothing.
    pub(super) fn since(&self, before: &Self) -> Option<Quantiles> {
        let seen: Vec<(u64, u64)> = grown(&self.seen, &before.seen).collect();
        if let (Some(p50), Some(p99)) = (quantile(&seen, 0.5), quantile(&seen, 0.99)) {
            return Some(Quantiles { p50_ms: millis(p50 * 1_000), p99_ms: millis(p99 * 1_000), seen_by: "stand-in" });
        }
        // Prometheus' buckets hold all that is below their edge.
        let mut below = 0;
        let counted: Vec<(u64, u64)> = grown(&self.counted, &before.counted)
            .map(|(edge, count)| {
                let own = count.saturating_sub(below);
                below = count;
                (edge, own)
            })
            .collect();
        let (p50, p99) = (quantile(&counted, 0.5)?, quantile(&counted, 0.99)?);
        Some(Quantiles { p50_ms: millis(p50), p99_ms: millis(p99), seen_by: "server" })
    }
}

fn grown<'a>(now: &'a BTreeMap<u64, u64>, before: &'a BTreeMap<u64, u64>) -> impl Iterator<Item = (u64, u64)> + 'a {
    now.iter().map(|(key, count)| (*key, count.saturating_sub(before.get(key).copied().unwrap_or(0))))
}

/// The value below or at which this share of all is.
fn quantile(counts: &[(u64, u64)], share: f64) -> Option<u64> {
    let all: u64 = counts.iter().map(|(_, count)| count).sum();
    let mut left = rank(all, share)?;
    counts.iter().find_map(|(value, count)| match left.checked_sub(*count) {
        None | Some(0) => Some(*value),
        Some(rest) => {
            left = rest;
            None
        }
    })
}

/// The place of a quantile among so many, from 1; `None` among none.
fn rank(all: u64, share: f64) -> Option<u64> {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a count far below 2^52"
    )]
    let rank = (all as f64 * share).ceil() as u64;
    (all > 0).then_some(rank.max(1))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the edge of a bucket: seconds, at most a few hundred"
)]
fn micros(seconds: f64) -> u64 {
    (seconds * 1e6).round() as u64
}

#[expect(clippy::cast_precision_loss, reason = "microseconds far below 2^52")]
fn millis(micros: u64) -> f64 {
    micros as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn seen(pairs: &[[u64; 2]]) -> Lags {
        let mut lags = Lags::default();
        lags.read_ages(&json!({ "ages_ms": pairs }));
        lags
    }

    #[test]
    fn what_the_stand_in_saw_beats_what_the_server_counts() {
        let before = seen(&[[1, 500], [90, 3]]);
        let now = seen(&[[1, 550], [2, 48], [7, 1], [40, 1], [90, 3]]);
        let expected = Quantiles { p50_ms: 1.0, p99_ms: 7.0, seen_by: "stand-in" };
        assert_eq!(now.since(&before), Some(expected));
        assert_eq!(now.since(&now), None, "nothing was added");
    }

    #[test]
    fn the_servers_histogram_is_read_in_upper_edges() {
        let text = |counts: [u64; 3]| {
            let mut lags = Lags::default();
            lags.read_metrics(&format!(
                "# TYPE push_delivery_lag_seconds histogram
push_delivery_lag_seconds_bucket{{vendor=\"xiaomi\",le=\"0.001\"}} {}
push_delivery_lag_seconds_bucket{{vendor=\"xiaomi\",le=\"0.0025\"}} {}
push_delivery_lag_seconds_bucket{{vendor=\"xiaomi\",le=\"+Inf\"}} {}
push_delivery_lag_seconds_count{{vendor=\"xiaomi\"}} {}\n",
                counts[0], counts[1], counts[2], counts[2]
            ));
            lags
        };
        let told = text([70, 109, 110]).since(&text([10, 10, 10])).unwrap();
        assert_eq!((told.p50_ms, told.p99_ms, told.seen_by), (1.0, 2.5, "server"));
        assert_eq!(Lags::default().since(&Lags::default()), None);
    }
}
