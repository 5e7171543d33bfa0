//! Devices whose right to a push was taken away a moment ago: in memory, so that no vendor call starts for them once the
//! session event that did it has been acknowledged.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::domain::id::AppId;

/// A delivery judged longer ago than this is judged again before it is sent, whatever happened meanwhile.
pub(super) const FRESH_FOR: Duration = Duration::from_secs(1);
/// What a caller cancelled is remembered for longer than any retry waits.
pub(super) const CANCELLED_FOR: Duration = Duration::from_mins(10);
/// Reports are remembered for longer than a call may take.
pub(super) const REPORTED_FOR: Duration = Duration::from_mins(2);
/// A generation is dropped early when it grows beyond this.
const MAX_ENTRIES: usize = 200_000;
/// Revocations are kept until every delivery judged before them is no longer fresh, with a wide margin.
const KEPT_FOR: Duration = Duration::from_secs(5);

/// Recent revocations. Two generations: the older one is dropped whole, so nothing is ever searched for old entries.
#[derive(Debug)]
pub struct Revocations {
    generations: Mutex<Generations>,
    kept_for: Duration,
}

#[derive(Debug)]
struct Generations {
    current: HashMap<u64, Instant>,
    previous: HashMap<u64, Instant>,
    rotated_at: Instant,
}

impl Default for Revocations {
    fn default() -> Self {
        Self::keeping(KEPT_FOR)
    }
}

impl Revocations {
    /// Remembers each entry at least for `kept_for`.
    pub fn keeping(kept_for: Duration) -> Self {
        let rotated_at = Instant::now();
        let generations = Generations { current: HashMap::new(), previous: HashMap::new(), rotated_at };
        Self { generations: Mutex::new(generations), kept_for }
    }

    /// Notes that a committed event took this device's right away. To be called before the event is acknowledged.
    pub fn add(&self, app_id: AppId, user_id: &str, device_id: &str) {
        let now = Instant::now();
        let mut generations = self.lock();
        if now.duration_since(generations.rotated_at) > self.kept_for || generations.current.len() > MAX_ENTRIES {
            generations.previous = std::mem::take(&mut generations.current);
            generations.rotated_at = now;
        }
        generations.current.insert(key(app_id, user_id, device_id), now);
    }

    /// Whether the device's right was taken away since the delivery was judged. Two devices may share a key: then one is
    /// judged again for nothing.
    pub fn since(&self, judged_at: Instant, app_id: AppId, user_id: &str, device_id: &str) -> bool {
        let generations = self.lock();
        if generations.current.is_empty() && generations.previous.is_empty() {
            return false;
        }
        let key = key(app_id, user_id, device_id);
        let happened = |generation: &HashMap<u64, Instant>| generation.get(&key).is_some_and(|at| *at >= judged_at);
        happened(&generations.current) || happened(&generations.previous)
    }

    /// Whether there is an entry at all.
    pub fn contains(&self, app_id: AppId, first: &str, second: &str) -> bool {
        let generations = self.lock();
        if generations.current.is_empty() && generations.previous.is_empty() {
            return false;
        }
        let key = key(app_id, first, second);
        generations.current.contains_key(&key) || generations.previous.contains_key(&key)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Generations> {
        self.generations.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn key(app_id: AppId, user_id: &str, device_id: &str) -> u64 {
    use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
    BuildHasherDefault::<DefaultHasher>::default().hash_one((app_id.0, user_id, device_id))
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
