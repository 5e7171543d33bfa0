//! All connections of one server, and what happens to them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::capture::{Capture, CapturedBytes};
use super::connection::Connection;
use crate::simulator::fault::GoAway;
use crate::simulator::line::Lines;

/// Outlives the server: after a restart the same rules hold.
pub(in crate::simulator) struct Floor {
    open: Mutex<Vec<Weak<Connection>>>,
    opened: AtomicU64,
    excess_streams: AtomicU64,
    priority_frames: AtomicU64,
    leave_after: Mutex<Option<(u64, GoAway)>>,
    pub(super) capture: Capture,
    pub(super) lines: Lines,
}

impl Floor {
    /// Keeps the first `capture_bytes` of its connections.
    pub(in crate::simulator) fn new(capture_bytes: usize) -> Self {
        Self {
            open: Mutex::default(),
            opened: AtomicU64::new(0),
            excess_streams: AtomicU64::new(0),
            priority_frames: AtomicU64::new(0),
            leave_after: Mutex::default(),
            capture: Capture::new(capture_bytes),
            lines: Lines::default(),
        }
    }

    /// Every connection goes away after this many requests; `None`: none does by itself.
    pub(in crate::simulator) fn leave_after(&self, requests: Option<(u64, GoAway)>) {
        *self.leave_after.lock().unwrap_or_else(PoisonError::into_inner) = requests;
    }

    /// All open connections go away now.
    pub(in crate::simulator) fn go_away(&self, how: &GoAway) {
        self.connections().iter().for_each(|connection| connection.go_away(how));
    }

    /// All open connections fall silent: what comes is thrown away, nothing goes out, not even the answer to a PING.
    pub(in crate::simulator) fn freeze_all(&self) {
        self.connections().iter().for_each(|connection| connection.is_frozen.store(true, Ordering::Release));
    }

    /// All open connections are torn down.
    pub(in crate::simulator) fn reset_all(&self) {
        self.lines.reset_all();
    }

    /// Connections opened since the start, their TLS handshake done.
    pub(in crate::simulator) fn opened(&self) -> u64 {
        self.opened.load(Ordering::Acquire)
    }

    /// Connections open now.
    pub(in crate::simulator) fn open(&self) -> usize {
        self.connections().len()
    }

    /// Streams opened although the client knew of a lower limit.
    pub(in crate::simulator) fn excess_streams(&self) -> u64 {
        self.excess_streams.load(Ordering::Acquire)
    }

    /// PRIORITY frames received on connections that have ended or are open.
    pub(in crate::simulator) fn priority_frames(&self) -> u64 {
        let open: u64 = self.connections().iter().map(|connection| connection.priority_frames()).sum();
        open + self.priority_frames.load(Ordering::Acquire)
    }

    pub(in crate::simulator) fn captured(&self) -> Vec<CapturedBytes> {
        self.capture.kept()
    }

    pub(super) fn next_id(&self) -> u64 {
        self.opened.fetch_add(1, Ordering::AcqRel) + 1
    }

    pub(super) fn add(&self, connection: &Arc<Connection>) {
        self.lock().push(Arc::downgrade(connection));
    }

    pub(super) fn remove(&self, connection: &Connection) {
        self.priority_frames.fetch_add(connection.priority_frames(), Ordering::AcqRel);
        self.lock().retain(|open| open.upgrade().is_some_and(|open| open.id() != connection.id()));
    }

    pub(super) fn count_excess_stream(&self) {
        self.excess_streams.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether a connection that has just got its `requests`th request goes away.
    pub(super) fn leaves_at(&self, requests: u64) -> Option<GoAway> {
        let rule = self.leave_after.lock().unwrap_or_else(PoisonError::into_inner);
        rule.as_ref().filter(|rule| rule.0 <= requests).map(|rule| rule.1.clone())
    }

    fn connections(&self) -> Vec<Arc<Connection>> {
        self.lock().iter().filter_map(Weak::upgrade).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Connection>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
