//! The first bytes of a server's connections, decrypted, for whoever must see them.

use std::sync::{Mutex, PoisonError};

use serde::Serialize;

/// Who sent captured bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// The client.
    In,
    /// This server.
    Out,
}

/// Bytes as they came off, or went onto, one connection inside its TLS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CapturedBytes {
    /// Which connection, counted from 1.
    pub connection: u64,
    /// Who sent them.
    pub direction: Direction,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// Keeps bytes until its room is used up.
#[derive(Debug, Default)]
pub(super) struct Capture {
    room: usize,
    kept: Mutex<Vec<CapturedBytes>>,
}

impl Capture {
    /// For `room` bytes, all connections and both directions together; 0 keeps nothing.
    pub(super) const fn new(room: usize) -> Self {
        Self { room, kept: Mutex::new(Vec::new()) }
    }

    pub(super) fn keep(&self, connection: u64, direction: Direction, bytes: &[u8]) {
        if self.room == 0 {
            return;
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let used: usize = kept.iter().map(|part| part.bytes.len()).sum();
        let bytes = bytes.get(..self.room.saturating_sub(used)).unwrap_or(bytes);
        if !bytes.is_empty() {
            kept.push(CapturedBytes { connection, direction, bytes: bytes.to_vec() });
        }
    }

    pub(super) fn kept(&self) -> Vec<CapturedBytes> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
