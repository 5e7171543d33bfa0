//! Misbehaviour on demand, the same for every vendor.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// One way of answering badly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Misbehaviour {
    /// An HTTP status with a body, as a proxy in front of the vendor gives it.
    Status {
        /// 200..=599.
        status: u16,
        /// Sent as `text/html` when it starts with `<`, as JSON when it starts with `{`, otherwise as plain text.
        body: String,
        /// The `Retry-After` header, seconds or an HTTP date.
        retry_after: Option<String>,
    },
    /// Status 200 with this text in place of the vendor's JSON.
    Text(String),
    /// The first half of an answer under the length of the whole, then the connection ends.
    Truncated,
    /// Status 200 without a body.
    Empty,
    /// A TCP reset in place of an answer.
    Reset,
    /// The vendor's own error answer, its head at once and its body after a pause.
    SlowCode {
        /// As the vendor writes it.
        code: Cow<'static, str>,
        /// Between head and body.
        pause: Duration,
    },
    /// HTTP/2: `RST_STREAM` with `REFUSED_STREAM`, which says that nothing was processed. HTTP/1.1: as [`Self::Reset`].
    RefuseStream,
    /// HTTP/2: the server goes away. A request is answered when no last stream is named, otherwise it never is. HTTP/1.1:
    /// as [`Self::Reset`].
    GoAway(GoAway),
    /// Silence, for this long or for ever; then the true answer.
    Hang(Option<Duration>),
    /// The vendor's own error answer. Without a reason the vendor's usual one for this code.
    Code {
        /// As the vendor writes it: `20301`, `UNREGISTERED`.
        code: Cow<'static, str>,
        /// The vendor's detail text.
        reason: Option<String>,
    },
}

/// The end of an HTTP/2 connection, announced by the server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GoAway {
    /// The last stream that is still processed; 0: none, and what is in flight was not. `None`: all that came so far.
    pub last_stream: Option<u32>,
    /// The HTTP/2 error code; 0: no error.
    pub error_code: u32,
    /// The debug data.
    pub debug: String,
}

impl GoAway {
    /// Nothing in flight was processed; the debug data is `{"reason": "<reason>"}`.
    pub fn unprocessed(reason: &str) -> Self {
        let debug = serde_json::json!({ "reason": reason }).to_string();
        Self { last_stream: Some(0), error_code: 0, debug }
    }
}

/// A misbehaviour and the requests it is meant for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    what: Misbehaviour,
    token: Option<String>,
    times: Option<u32>,
    after_accepting: bool,
}

impl From<Misbehaviour> for Fault {
    fn from(what: Misbehaviour) -> Self {
        Self::always(what)
    }
}

impl Fault {
    /// Every request, until the faults are cleared.
    pub const fn always(what: Misbehaviour) -> Self {
        Self { what, token: None, times: None, after_accepting: false }
    }

    /// The next request only.
    pub const fn once(what: Misbehaviour) -> Self {
        Self::times(what, 1)
    }

    /// The next `times` requests.
    pub const fn times(what: Misbehaviour, times: u32) -> Self {
        Self { what, token: None, times: Some(times), after_accepting: false }
    }

    /// Only for requests that name this device token.
    #[must_use]
    pub fn for_token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// The vendor first does what was asked, then misbehaves: an answer that is lost, not a request that failed.
    #[must_use]
    pub const fn after_accepting(mut self) -> Self {
        self.after_accepting = true;
        self
    }

    pub(super) const fn misbehaviour(&self) -> &Misbehaviour {
        &self.what
    }

    pub(super) const fn is_after_accepting(&self) -> bool {
        self.after_accepting
    }
}

/// How long every answer takes on top of the work, drawn evenly from a range.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Latency {
    /// The shortest, in milliseconds.
    pub min_ms: u64,
    /// The longest, in milliseconds; not below `min_ms`.
    pub max_ms: u64,
}

impl Latency {
    /// Always the same.
    pub const fn fixed(ms: u64) -> Self {
        Self { min_ms: ms, max_ms: ms }
    }
}

/// What goes wrong next: a queue of counted faults, then a standing rule.
#[derive(Debug, Default)]
pub struct FaultScript {
    /// So that a server without faults takes no lock.
    any: AtomicBool,
    min_ms: AtomicU64,
    max_ms: AtomicU64,
    script: Mutex<Script>,
}

#[derive(Debug, Default)]
struct Script {
    queue: VecDeque<Fault>,
    standing: Vec<Fault>,
}

impl FaultScript {
    /// Adds a fault: a counted one to the end of the queue, one without a count as a standing rule.
    pub fn add(&self, fault: Fault) {
        let mut script = self.lock();
        match fault.times {
            Some(0) => {}
            Some(_) => script.queue.push_back(fault),
            None => script.standing.push(fault),
        }
        self.any.store(!script.queue.is_empty() || !script.standing.is_empty(), Ordering::Release);
    }

    /// Forgets all faults and the latency.
    pub fn clear(&self) {
        *self.lock() = Script::default();
        self.any.store(false, Ordering::Release);
        self.set_latency(Latency::default());
    }

    /// Delays every answer from now on.
    pub fn set_latency(&self, latency: Latency) {
        self.min_ms.store(latency.min_ms, Ordering::Relaxed);
        self.max_ms.store(latency.max_ms.max(latency.min_ms), Ordering::Relaxed);
    }

    /// The range in force.
    pub fn latency(&self) -> Latency {
        Latency { min_ms: self.min_ms.load(Ordering::Relaxed), max_ms: self.max_ms.load(Ordering::Relaxed) }
    }

    /// How many faults wait in the queue (each once for every time it is due), and how many stand.
    pub fn counts(&self) -> (u64, usize) {
        let script = self.lock();
        (script.queue.iter().map(|fault| u64::from(fault.times.unwrap_or(0))).sum(), script.standing.len())
    }

    /// The delay of the next answer, `None` for none.
    pub(super) fn draw_latency(&self) -> Option<Duration> {
        let Latency { min_ms, max_ms } = self.latency();
        let ms = if min_ms < max_ms { rand::random_range(min_ms..=max_ms) } else { min_ms };
        (ms > 0).then(|| Duration::from_millis(ms))
    }

    /// The fault for a request, used up when it is a counted one. `tokens` is asked only when a fault is for one token.
    pub(super) fn take(&self, tokens: impl FnOnce() -> Vec<String>) -> Option<Fault> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let mut script = self.lock();
        let filtered = script.queue.iter().chain(&script.standing).any(|fault| fault.token.is_some());
        let tokens = if filtered { tokens() } else { Vec::new() };
        let meant = |fault: &Fault| fault.token.as_ref().is_none_or(|token| tokens.contains(token));
        let Some(at) = script.queue.iter().position(meant) else {
            return script.standing.iter().find(|fault| meant(fault)).cloned();
        };
        let fault = script.queue.get(at)?.clone();
        match script.queue.get_mut(at) {
            Some(Fault { times: Some(left), .. }) if *left > 1 => *left -= 1,
            _ => drop(script.queue.remove(at)),
        }
        self.any.store(!script.queue.is_empty() || !script.standing.is_empty(), Ordering::Release);
        Some(fault)
    }

    fn lock(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::Misbehaviour::{Empty, Reset, Truncated};
    use super::*;

    fn next(script: &FaultScript, tokens: &[&str]) -> Option<Misbehaviour> {
        let tokens = tokens.iter().map(ToString::to_string).collect();
        script.take(|| tokens).map(|fault| fault.what)
    }

    #[test]
    fn counted_faults_come_first_in_order_and_then_the_standing_rule() {
        let script = FaultScript::default();
        assert_eq!(next(&script, &[]), None);
        script.add(Fault::always(Misbehaviour::Empty));
        script.add(Fault::times(Misbehaviour::Reset, 2));
        script.add(Fault::once(Misbehaviour::Truncated));
        script.add(Fault::times(Misbehaviour::Reset, 0));
        assert_eq!(script.counts(), (3, 1));
        let seen: Vec<_> = (0..5).filter_map(|_| next(&script, &[])).collect();
        assert_eq!(seen, [Reset, Reset, Truncated, Empty, Empty]);
        script.clear();
        assert_eq!((next(&script, &[]), script.counts()), (None, (0, 0)));
    }

    #[test]
    fn a_fault_for_one_token_waits_for_a_request_that_names_it() {
        let script = FaultScript::default();
        script.add(Fault::once(Misbehaviour::Reset).for_token("b"));
        script.add(Fault::once(Misbehaviour::Empty));
        assert_eq!(next(&script, &["a"]), Some(Misbehaviour::Empty));
        assert_eq!(next(&script, &["a"]), None);
        assert_eq!(next(&script, &["a", "b"]), Some(Misbehaviour::Reset));
        assert_eq!(next(&script, &["a", "b"]), None);
    }

    #[test]
    fn latency_is_drawn_from_its_range_and_cleared_with_the_faults() {
        let script = FaultScript::default();
        assert_eq!(script.draw_latency(), None);
        script.set_latency(Latency::fixed(7));
        assert_eq!(script.draw_latency(), Some(Duration::from_millis(7)));
        script.set_latency(Latency { min_ms: 3, max_ms: 5 });
        for _ in 0..50 {
            let drawn = script.draw_latency().unwrap();
            assert!((3..=5).contains(&drawn.as_millis()), "{drawn:?}");
        }
        script.clear();
        assert_eq!(script.draw_latency(), None);
    }
}
