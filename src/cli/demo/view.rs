//! The live view on standard error: a table refreshed in place on a terminal, a line every few seconds elsewhere.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::tally::{Counts, Quantiles, Snapshot, Tally};
use super::vendors::Vendors;
use super::world::World;
use crate::clock::Clock;
use crate::dispatcher::{Dispatcher, LaneStatus};
use crate::domain::id::CertificateId;

const REDRAW: Duration = Duration::from_secs(1);
const LINE_INTERVAL: Duration = Duration::from_secs(5);
/// Where a list of counts goes on in the next line.
const LIST_WIDTH: usize = 78;

pub(super) struct View {
    pub world: Arc<World>,
    pub tally: Arc<Tally>,
    pub dispatcher: Dispatcher,
    pub vendors: Vendors,
    pub clock: Clock,
    pub began: Instant,
}

/// Writes to standard error; nobody may be reading.
pub(super) fn say(text: &str) {
    let _nobody_reads = std::io::stderr().lock().write_all(text.as_bytes());
}

impl View {
    /// Shows until told to stop.
    pub(super) async fn show(self, stop: CancellationToken) {
        let is_terminal = std::io::stderr().is_terminal();
        let interval = if is_terminal { REDRAW } else { LINE_INTERVAL };
        let mut height = 0;
        while stop.run_until_cancelled(tokio::time::sleep(interval)).await.is_some() {
            let snapshot = self.tally.snapshot();
            if is_terminal {
                let table = self.table(&snapshot);
                say(&in_place(&table, height));
                height = table.lines().count();
            } else {
                say(&self.line(&snapshot));
            }
        }
    }

    /// One line.
    fn line(&self, snapshot: &Snapshot) -> String {
        format!(
            "{}  {} accepted  {}  waiting {}  skipped {}  phones received {}  accept {}  to vendor {}\n",
            clock_face(self.began.elapsed()),
            snapshot.numbers.accepted,
            listed(&snapshot.numbers.outcomes).join("  "),
            snapshot.open,
            snapshot.numbers.skipped.values().sum::<u64>(),
            self.vendors.received_total(),
            quantiles(snapshot.accept_ms),
            quantiles(snapshot.accept_to_vendor_ms),
        )
    }

    /// The whole table.
    fn table(&self, snapshot: &Snapshot) -> String {
        let mut table = String::new();
        let numbers = &snapshot.numbers;
        let elapsed = self.began.elapsed();
        let mut row = |name: &str, items: Vec<String>| push_row(&mut table, name, items);
        row(
            "messages",
            vec![
                format!("accepted {}", numbers.accepted),
                format!("repeated {}", numbers.replayed),
                format!("not accepted {}", numbers.not_accepted),
                format!("session events {}", numbers.session_events),
            ],
        );
        let mut deliveries = listed(&numbers.outcomes);
        deliveries.push(format!("not ended {}", snapshot.open));
        row("deliveries", deliveries);
        row("no push", listed(&numbers.skipped));
        for did in self.vendors.activity() {
            row(
                did.vendor.as_str(),
                vec![
                    format!("phones received {}", did.received),
                    format!("answers in {} to {} ms", did.latency.min_ms, did.latency.max_ms),
                    format!(
                        "accepted to vendor {}",
                        quantiles(snapshot.by_vendor_ms.get(&did.vendor).copied().unwrap_or_default())
                    ),
                    format!("calls {}", did.calls),
                    format!("refused {}", did.refused),
                    format!("failed on purpose {}", did.failed_on_purpose),
                ],
            );
        }
        for app in &self.world.apps {
            for certificate in &app.certificates {
                let status = self.dispatcher.lane_status(CertificateId(certificate.id));
                row(app.name, vec![certificate.name.clone(), self.lane(&status)]);
            }
        }
        row(
            "time",
            vec![
                format!("accept {}", quantiles(snapshot.accept_ms)),
                format!("accepted to vendor {}", quantiles(snapshot.accept_to_vendor_ms)),
            ],
        );
        row(
            "audit",
            vec![format!("lost {}", numbers.lost), format!("phantom {}", numbers.phantom), clock_face(elapsed)],
        );
        table
    }

    fn lane(&self, status: &LaneStatus) -> String {
        let mut text = format!("held {}  rate {:.0} %", status.held, status.rate_share * 100.0);
        if status.breaker_open {
            text.push_str("  circuit breaker open");
        }
        if status.prune_breaker_open {
            text.push_str("  prune breaker open");
        }
        let now = self.clock.now();
        for (class, until) in status.holds.iter().filter(|hold| hold.1 > now) {
            let _infallible = write!(text, "  channel {class}: quota spent until {}", until.format("%H:%M UTC"));
        }
        text
    }
}

fn push_row(table: &mut String, name: &str, items: Vec<String>) {
    let mut line = String::new();
    let mut name = name;
    for item in items {
        if !line.is_empty() && line.len() + item.len() > LIST_WIDTH {
            let _infallible = writeln!(table, "  {name:<14}{line}");
            line.clear();
            name = "";
        }
        if !line.is_empty() {
            line.push_str("   ");
        }
        line.push_str(&item);
    }
    let _infallible = writeln!(table, "  {name:<14}{line}");
}

/// The table over the one before, which was `height` lines high. Lines that are too long are cut by the terminal.
fn in_place(table: &str, height: usize) -> String {
    let back = if height == 0 { String::new() } else { format!("\x1b[{height}A") };
    format!("\x1b[?7l{back}\x1b[J{table}\x1b[?7h")
}

fn listed(counts: &Counts) -> Vec<String> {
    counts.iter().map(|(name, count)| format!("{name} {count}")).collect()
}

fn quantiles(quantiles: Quantiles) -> String {
    match (quantiles.p50, quantiles.p99) {
        (Some(p50), Some(p99)) => format!("p50 {p50} ms, p99 {p99} ms"),
        _ => "-".to_owned(),
    }
}

fn clock_face(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    format!("{:>2}:{:02}", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_row_goes_on_in_the_next_line() {
        let mut table = String::new();
        push_row(&mut table, "no push", (0..20).map(|n| format!("reason_{n} 1")).collect());
        let lines: Vec<_> = table.lines().collect();
        assert!(lines.len() > 2 && lines.iter().all(|line| line.len() <= LIST_WIDTH + 20), "{table}");
        assert!(lines[0].starts_with("  no push       reason_0 1   reason_1"), "{table}");
        assert!(lines[1].starts_with("                reason_"), "{table}");
    }

    #[test]
    fn the_next_table_starts_where_the_last_one_did() {
        assert_eq!(in_place("a\n", 0), "\x1b[?7l\x1b[Ja\n\x1b[?7h");
        assert_eq!(in_place("a\n", 3), "\x1b[?7l\x1b[3A\x1b[Ja\n\x1b[?7h");
    }
}
