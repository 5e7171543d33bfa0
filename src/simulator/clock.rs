//! Where a simulator takes its time from.

use std::sync::Arc;

/// Milliseconds since 1970-01-01 UTC. Tests pass a clock of their own, so that quotas and rates move only when they say so.
pub type Now = Arc<dyn Fn() -> i64 + Send + Sync>;

/// The wall clock of this machine.
pub fn system_clock() -> Now {
    Arc::new(wall_clock_ms)
}

#[expect(clippy::disallowed_methods, reason = "a simulator is another company's server: it has a clock of its own")]
fn wall_clock_ms() -> i64 {
    chrono::Utc::now().timestamp_millis()
}
