//! Devices whose right to a push was taken away a moment ago: in memory, so that no vendor call starts for them once the
//! session event that did it has been acknowledged.

use std::time::{Duration, Instant};

use super::recent::{Recent, key_of};
use crate::domain::id::AppId;

/// A delivery judged longer ago than this is judged again before it is sent, whatever happened meanwhile.
pub(super) const FRESH_FOR: Duration = Duration::from_secs(1);
/// What a caller cancelled is remembered for longer than any retry waits.
pub(super) const CANCELLED_FOR: Duration = Duration::from_mins(10);
/// Reports are remembered for longer than a call may take.
pub(super) const REPORTED_FOR: Duration = Duration::from_mins(2);
/// Revocations are kept until every delivery judged before them is no longer fresh, with a wide margin.
const KEPT_FOR: Duration = Duration::from_secs(5);

/// Recent revocations.
#[derive(Debug)]
pub struct Revocations(Recent<Instant>);

impl Default for Revocations {
    fn default() -> Self {
        Self::keeping(KEPT_FOR)
    }
}

impl Revocations {
    /// Remembers each entry at least for `kept_for`.
    pub fn keeping(kept_for: Duration) -> Self {
        Self(Recent::keeping(kept_for))
    }

    /// Notes that a committed event took this device's right away. To be called before the event is acknowledged.
    pub fn add(&self, app_id: AppId, user_id: &str, device_id: &str) {
        self.0.note(key_of((app_id.0, user_id, device_id)), Instant::now());
    }

    /// Whether the device's right was taken away since the delivery was judged.
    pub fn since(&self, judged_at: Instant, app_id: AppId, user_id: &str, device_id: &str) -> bool {
        self.0.find(|| key_of((app_id.0, user_id, device_id))).is_some_and(|at| at >= judged_at)
    }

    /// Whether there is an entry at all.
    pub fn contains(&self, app_id: AppId, first: &str, second: &str) -> bool {
        self.0.find(|| key_of((app_id.0, first, second))).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_judged_before_is_judged_again() {
        let revocations = Revocations::default();
        let before = Instant::now();
        assert!(!revocations.since(before, AppId(1), "alice", "phone"));
        revocations.add(AppId(1), "alice", "phone");
        assert!(revocations.since(before, AppId(1), "alice", "phone"));
        assert!(!revocations.since(Instant::now(), AppId(1), "alice", "phone"));
        assert!(!revocations.since(before, AppId(1), "alice", "tablet"));
        assert!(!revocations.since(before, AppId(2), "alice", "phone"));
    }
}
