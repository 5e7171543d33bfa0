//! When requests of a fixed rate are due. A server that stands still does not slow it down, so what waited meanwhile waited long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

/// How often due requests are released: the most that a request goes out late for the client's own reasons.
const STEP: Duration = Duration::from_micros(500);

/// See the module.
pub(super) struct Pacer {
    rate: u32,
    begin: Instant,
    taken: AtomicU64,
    released: Arc<Semaphore>,
    stop: Arc<AtomicBool>,
}

impl Pacer {
    /// Releases the first request at `begin`, none at `until` or later.
    pub(super) fn start(rate: u32, begin: Instant, until: Instant) -> std::io::Result<Self> {
        let released = Arc::new(Semaphore::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let (permits, is_over) = (Arc::clone(&released), Arc::clone(&stop));
        // A thread of its own: the timer of the runtime knows whole milliseconds only.
        std::thread::Builder::new().name("pacer".to_owned()).spawn(move || {
            let mut given = 0;
            let last = until.saturating_duration_since(begin).saturating_sub(Duration::from_nanos(1));
            while !is_over.load(Ordering::Relaxed) {
                let now = Instant::now();
                let due = due_by(rate, now.saturating_duration_since(begin).min(last));
                permits.add_permits(usize::try_from(due - given).unwrap_or_default());
                given = due;
                if now >= until {
                    // Who is free still takes what was due a moment ago.
                    std::thread::sleep(STEP * 10);
                    permits.close();
                    return;
                }
                std::thread::sleep(STEP);
            }
        })?;
        Ok(Self { rate, begin, taken: AtomicU64::new(0), released, stop })
    }

    /// Waits until the next request is due, and tells since when it is; `None` when the time is over.
    pub(super) async fn next(&self) -> Option<Instant> {
        self.released.acquire().await.ok()?.forget();
        let number = self.taken.fetch_add(1, Ordering::Relaxed);
        Some(self.begin + Duration::from_nanos(number.saturating_mul(1_000_000_000) / u64::from(self.rate)))
    }

    /// Requests that were due and that nobody took.
    pub(super) fn left(&self) -> u64 {
        self.released.available_permits() as u64
    }
}

impl Drop for Pacer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// How many requests are due after so long; the first at once.
fn due_by(rate: u32, elapsed: Duration) -> u64 {
    let due = elapsed.as_nanos() * u128::from(rate) / 1_000_000_000;
    u64::try_from(due).unwrap_or(u64::MAX).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_due_evenly_from_the_begin_on() {
        let due = |ms| due_by(1_000, Duration::from_millis(ms));
        assert_eq!([due(0), due(1), due(10), due(1_000)], [1, 2, 11, 1_001]);
        assert_eq!(due_by(3, Duration::from_millis(333)), 1);
        assert_eq!(due_by(3, Duration::from_millis(334)), 2);
    }

    #[tokio::test]
    async fn the_schedule_goes_on_while_nobody_takes_anything() {
        let begin = Instant::now();
        let until = begin + Duration::from_millis(100);
        let pacer = Pacer::start(1_000, begin, until).unwrap();
        tokio::time::sleep(Duration::from_millis(60)).await;
        for number in 0..50 {
            assert_eq!(pacer.next().await, Some(begin + Duration::from_millis(number)), "due long ago");
        }
        let mut others = 0;
        while pacer.next().await.is_some() {
            others += 1;
        }
        assert_eq!((others, pacer.left()), (50, 0), "none is due at the end itself");
        assert!(Instant::now() >= until);
    }
}
