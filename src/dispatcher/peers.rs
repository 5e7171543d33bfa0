//! The other instances, as far as this one saw them. Silence is measured by this machine's own monotonic clock: a jump of
//! the database's clock makes nobody look dead.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use crate::domain::id::InstanceId;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Peers(HashMap<InstanceId, Seen>);

#[derive(Debug, Clone, Copy)]
struct Seen {
    heartbeat_at: DateTime<Utc>,
    /// When this value was first seen.
    since: Instant,
}

impl Peers {
    /// Takes note of what the database says of the others at `now`.
    pub(super) fn observe(&mut self, others: &[(InstanceId, DateTime<Utc>)], now: Instant) {
        let before = std::mem::take(&mut self.0);
        let seen = |(id, heartbeat_at): &(InstanceId, DateTime<Utc>)| {
            let same = before.get(id).filter(|seen| seen.heartbeat_at == *heartbeat_at);
            (*id, same.copied().unwrap_or(Seen { heartbeat_at: *heartbeat_at, since: now }))
        };
        self.0 = others.iter().map(seen).collect();
    }

    /// Those whose heartbeat has not changed for so long, with that heartbeat.
    pub(super) fn silent(&self, dead_after: Duration, now: Instant) -> Vec<(InstanceId, DateTime<Utc>)> {
        let is_silent = |seen: &Seen| now.saturating_duration_since(seen.since) >= dead_after;
        self.0.iter().filter(|(_, seen)| is_silent(seen)).map(|(id, seen)| (*id, seen.heartbeat_at)).collect()
    }

    /// How many are not silent.
    pub(super) fn alive(&self, dead_after: Duration, now: Instant) -> usize {
        self.0.len() - self.silent(dead_after, now).len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEAD_AFTER: Duration = Duration::from_secs(5);

    #[test]
    fn silence_is_a_heartbeat_that_stays_the_same_whatever_the_databases_clock_does() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let at = |seconds: i64| DateTime::from_timestamp(1_795_000_000 + seconds, 0).unwrap();
        let (one, two) = (InstanceId(1), InstanceId(2));
        let mut peers = Peers::default();
        peers.observe(&[(one, at(0)), (two, at(0))], start);
        assert_eq!(peers.silent(DEAD_AFTER, start), [], "just met");
        // The clock jumps an hour ahead, and back: the first goes on beating, the second stays silent.
        peers.observe(&[(one, at(3_601)), (two, at(0))], start + second);
        peers.observe(&[(one, at(2)), (two, at(0))], start + second * 4);
        assert_eq!(peers.silent(DEAD_AFTER, start + second * 4), []);
        peers.observe(&[(one, at(3)), (two, at(0))], start + second * 5);
        assert_eq!(peers.silent(DEAD_AFTER, start + second * 5), [(two, at(0))]);
        assert_eq!(peers.alive(DEAD_AFTER, start + second * 5), 1);
        peers.observe(&[(one, at(4))], start + second * 6);
        assert_eq!(peers.silent(DEAD_AFTER, start + second * 6), [], "taken over and gone");
    }
}
