//! The bodies that were saved for a later list push.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::answer::{BAD_VALUE, Refusal};
use super::class::Class;
use crate::simulator::inbox::Message;

/// How many are kept; beyond, the oldest are forgotten.
const MAX_LISTS: usize = 20_000;
/// How long a task id can be pushed.
const DAY_MS: i64 = 86_400_000;

/// One saved body.
#[derive(Debug)]
pub(super) struct SavedList {
    pub(super) app_id: u64,
    pub(super) message: Message,
    pub(super) class: Class,
    pub(super) push_mode: i64,
    pub(super) at_ms: i64,
}

/// All of them, by task id.
#[derive(Debug, Default)]
pub(super) struct SavedLists {
    lists: HashMap<String, Arc<SavedList>>,
    order: VecDeque<String>,
}

impl SavedLists {
    pub(super) fn save(&mut self, task_id: &str, list: SavedList) {
        if self.order.len() >= MAX_LISTS
            && let Some(oldest) = self.order.pop_front()
        {
            self.lists.remove(&oldest);
        }
        self.order.push_back(task_id.to_owned());
        self.lists.insert(task_id.to_owned(), Arc::new(list));
    }

    /// The body behind a task id, of this app and of the last day.
    pub(super) fn find(&self, task_id: &str, app_id: u64, now_ms: i64) -> Result<Arc<SavedList>, Refusal> {
        match self.lists.get(task_id) {
            None => Err(Refusal::new(BAD_VALUE, "taskId is unknown")),
            Some(list) if list.app_id != app_id => Err(Refusal::new(BAD_VALUE, "taskId is of another app")),
            Some(list) if now_ms - list.at_ms >= DAY_MS => Err(Refusal::new(BAD_VALUE, "taskId is a day old")),
            Some(list) => Ok(Arc::clone(list)),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }
}
