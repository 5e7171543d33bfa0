//! The bodies that were saved for a later broadcast.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::answer::Refusal;
use crate::simulator::inbox::Message;

/// How many are kept; beyond, the oldest are forgotten.
const MAX_BODIES: usize = 20_000;
/// How long a body can be sent.
const DAY_MS: i64 = 86_400_000;

/// One saved body.
#[derive(Debug)]
pub(super) struct SavedBody {
    pub(super) app_key: String,
    pub(super) message: Message,
    pub(super) at_ms: i64,
}

/// All of them, by message id.
#[derive(Debug, Default)]
pub(super) struct SavedBodies {
    bodies: HashMap<String, Arc<SavedBody>>,
    order: VecDeque<String>,
}

impl SavedBodies {
    pub(super) fn save(&mut self, message_id: &str, body: SavedBody) {
        if self.order.len() >= MAX_BODIES
            && let Some(oldest) = self.order.pop_front()
        {
            self.bodies.remove(&oldest);
        }
        self.order.push_back(message_id.to_owned());
        self.bodies.insert(message_id.to_owned(), Arc::new(body));
    }

    /// The body behind a message id, of this app and of the last day.
    pub(super) fn find(&self, message_id: &str, app_key: &str, now_ms: i64) -> Result<Arc<SavedBody>, Refusal> {
        match self.bodies.get(message_id) {
            None => Err(Refusal::new(31, "message_id is unknown")),
            Some(body) if body.app_key != app_key => Err(Refusal::new(31, "message_id is of another app")),
            Some(body) if now_ms - body.at_ms >= DAY_MS => Err(Refusal::new(31, "message_id is a day old")),
            Some(body) => Ok(Arc::clone(body)),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }
}
