//! One HTTP/2 connection: what the vendor may do with it, and what it remembers.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use bytes::{Bytes, BytesMut};
use futures_util::task::AtomicWaker;
use tokio::sync::Notify;

use super::frame;
use crate::simulator::fault::GoAway;
use crate::simulator::line::Hangup;

/// How many changes of the stream limit are kept, to know which one a stream was opened under.
const MAX_LIMITS: usize = 64;

/// One open connection.
pub struct Connection {
    id: u64,
    peer_certificate: Option<Vec<u8>>,
    pub(super) hangup: Hangup,
    /// The last stream that is still processed, once the connection goes away.
    away: RwLock<Option<u32>>,
    pub(super) leaving: Notify,
    pub(super) is_frozen: AtomicBool,
    pub(super) active: AtomicU32,
    pub(super) requests: AtomicU64,
    frames: Mutex<Frames>,
    pub(super) waker: AtomicWaker,
}

/// What the tap puts in, and what it saw.
#[derive(Debug, Default)]
struct Frames {
    limit: u32,
    /// Whether the first SETTINGS frame is out, which carries the limit.
    begun: bool,
    settings: VecDeque<Bytes>,
    go_away: Option<Bytes>,
    /// For every SETTINGS frame sent and not acknowledged: whether `h2` sent it, and the stream limit in it.
    unacknowledged: VecDeque<(bool, Option<u32>)>,
    /// Acknowledged limits, each with the last stream opened before.
    in_force: VecDeque<(u32, u32)>,
    last_stream: u32,
    priorities: u64,
}

impl Connection {
    pub(super) fn new(id: u64, peer_certificate: Option<Vec<u8>>, hangup: Hangup) -> Self {
        Self {
            id,
            peer_certificate,
            hangup,
            away: RwLock::new(None),
            leaving: Notify::new(),
            is_frozen: AtomicBool::new(false),
            active: AtomicU32::new(0),
            requests: AtomicU64::new(0),
            frames: Mutex::default(),
            waker: AtomicWaker::new(),
        }
    }

    /// Its number, counted from 1.
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// The client's certificate as DER. Nobody checked more than that the client has its private key.
    pub fn peer_certificate(&self) -> Option<&[u8]> {
        self.peer_certificate.as_deref()
    }

    /// Tells the client how many streams it may have open from now on.
    pub fn limit_streams(&self, limit: u32) {
        let mut frames = self.frames();
        if frames.limit == limit {
            return;
        }
        frames.limit = limit;
        if frames.begun {
            frames.settings.push_back(frame::settings(limit));
            frames.unacknowledged.push_back((false, Some(limit)));
        }
        drop(frames);
        self.waker.wake();
    }

    /// Announces the end: no stream above the last one is processed from here on.
    pub(in crate::simulator) fn go_away(&self, how: &GoAway) {
        let mut away = self.away.write().unwrap_or_else(PoisonError::into_inner);
        if away.is_some() {
            return;
        }
        let mut frames = self.frames();
        let last = how.last_stream.unwrap_or(frames.last_stream);
        *away = Some(last);
        frames.go_away = Some(frame::go_away(last, how.error_code, &how.debug));
        drop((away, frames));
        self.leaving.notify_one();
        self.waker.wake();
    }

    /// The last stream that is processed; `None`: all are.
    pub(super) fn last_processed(&self) -> Option<u32> {
        *self.away.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many PRIORITY frames came.
    pub(super) fn priority_frames(&self) -> u64 {
        self.frames().priorities
    }

    /// The stream limit of now, whether the client knows of it or not.
    pub(super) fn limit(&self) -> u32 {
        match self.frames().limit {
            0 => u32::MAX,
            limit => limit,
        }
    }

    /// The stream limit that the client knew of when it opened this stream.
    pub(super) fn limit_known_at(&self, stream: u32) -> Option<u32> {
        self.frames().in_force.iter().rev().find(|(after, _)| *after < stream).map(|(_, limit)| *limit)
    }

    /// The tap: `h2` sends SETTINGS. Returns the stream limit to put in, into the first ones only.
    pub(super) fn settings_sent(&self) -> Option<u32> {
        let mut frames = self.frames();
        let limit = (!frames.begun && frames.limit > 0).then_some(frames.limit);
        frames.begun = true;
        frames.unacknowledged.push_back((true, limit));
        limit
    }

    /// The tap: the client acknowledged SETTINGS. Returns whether `h2` is to hear of it.
    pub(super) fn settings_acknowledged(&self) -> bool {
        let mut frames = self.frames();
        let Some((by_h2, limit)) = frames.unacknowledged.pop_front() else { return true };
        if let Some(limit) = limit {
            let after = frames.last_stream;
            frames.in_force.push_back((after, limit));
            if frames.in_force.len() > MAX_LIMITS {
                frames.in_force.pop_front();
            }
        }
        by_h2
    }

    /// The tap: the client sent a frame that opens a stream, or PRIORITY.
    pub(super) fn seen(&self, head: frame::Head) {
        match head.kind {
            frame::HEADERS => {
                let mut frames = self.frames();
                frames.last_stream = frames.last_stream.max(head.stream);
            }
            frame::PRIORITY => self.frames().priorities += 1,
            _ => {}
        }
    }

    /// The tap: between two frames, moves what is to be put in there.
    pub(super) fn take_settings(&self, out: &mut BytesMut) {
        self.frames().settings.drain(..).for_each(|frame| out.extend_from_slice(&frame));
    }

    /// The tap: all that `h2` had to say is said.
    pub(super) fn take_go_away(&self, out: &mut BytesMut) {
        if let Some(frame) = self.frames().go_away.take() {
            out.extend_from_slice(&frame);
        }
    }

    fn frames(&self) -> MutexGuard<'_, Frames> {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right of one request to be processed, until its connection goes away without it.
#[derive(Clone)]
pub(in crate::simulator) struct Admission {
    pub(super) connection: Arc<Connection>,
    pub(super) stream: u32,
}

impl Admission {
    /// Holds the connection open while the request is processed; `None` when it already went away without it.
    pub(in crate::simulator) fn enter(&self) -> Option<RwLockReadGuard<'_, Option<u32>>> {
        let away = self.connection.away.read().unwrap_or_else(PoisonError::into_inner);
        away.is_none_or(|last| self.stream <= last).then_some(away)
    }
}

impl std::fmt::Debug for Admission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "stream {} of connection {}", self.stream, self.connection.id)
    }
}

/// One stream among the active ones of its connection, until this is dropped.
pub(super) struct Active(Arc<Connection>);

impl Active {
    /// Counts a stream in.
    pub(super) fn new(connection: &Arc<Connection>) -> Self {
        connection.active.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(connection))
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::AcqRel);
    }
}
