//! What APNs remembers of one connection: who speaks on it, and how many streams it may open.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::StatusCode;

use super::answer::Refusal;
use super::jwt::Jwt;
use crate::simulator::http2::Connection;
use crate::simulator::wire::Answer;

/// Within which a connection's token may change once.
const UPDATE_WINDOW_MS: i64 = 20 * 60 * 1_000;

pub(super) struct Visit {
    pub(super) connection: Arc<Connection>,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    /// The team and the key of the first valid token, and what was known then.
    speaker: Option<(String, String, u64)>,
    token: String,
    changed_at_ms: Option<i64>,
    is_trusted: bool,
    is_slowed: bool,
}

impl Visit {
    /// `is_trusted`: all streams at once, without a valid token first.
    pub(super) fn new(connection: &Arc<Connection>, is_trusted: bool) -> Self {
        Self { connection: Arc::clone(connection), memory: Mutex::new(Memory { is_trusted, ..Memory::default() }) }
    }

    /// A valid token was shown. Returns how old the connection's knowledge of the accounts is; `age` is the newest.
    pub(super) fn speak(&self, token: &str, jwt: &Jwt, at_ms: i64, age: u64) -> Result<u64, Refusal> {
        let mut memory = self.memory();
        let since = match &memory.speaker {
            Some((team, ..)) if *team != jwt.iss => {
                return Err(Refusal::new("InvalidProviderToken", "another team on this connection"));
            }
            Some((_, kid, _)) if *kid != jwt.kid => {
                return Err(Refusal::new("UnrelatedKeyIdInToken", "another key on this connection"));
            }
            Some((.., since)) => *since,
            None => {
                memory.speaker = Some((jwt.iss.clone(), jwt.kid.clone(), age));
                age
            }
        };
        if memory.token != token {
            let is_first = memory.token.is_empty();
            let is_early = memory.changed_at_ms.is_some_and(|changed| at_ms < changed + UPDATE_WINDOW_MS);
            if is_early {
                return Err(Refusal::new("TooManyProviderTokenUpdates", "JWT changed twice within 20 minutes"));
            }
            token.clone_into(&mut memory.token);
            if !is_first {
                memory.changed_at_ms = Some(at_ms);
            }
        }
        memory.is_trusted = true;
        Ok(since)
    }

    /// After an answer: an error slows the connection down where that is switched on, a success ends it.
    pub(super) fn answered(&self, answer: &Answer, slows: bool) {
        let mut memory = self.memory();
        if answer.status.is_success() {
            memory.is_slowed = false;
        } else if slows && answer.status.is_client_error() && answer.status != StatusCode::GONE {
            memory.is_slowed = true;
        }
    }

    /// Tells the client its stream limit; `streams` when nothing holds it down.
    pub(super) fn limit(&self, streams: u32) {
        let memory = self.memory();
        let held_down = !memory.is_trusted || memory.is_slowed;
        drop(memory);
        self.connection.limit_streams(if held_down { 1 } else { streams });
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
