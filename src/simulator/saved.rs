//! Bodies that are saved with one call and sent with a later one, for vendors that send to many in two steps.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::bounded::Bounded;

/// How many are kept; beyond, the oldest are forgotten.
const MAX_BODIES: usize = 20_000;
/// How long a body can be sent.
const DAY_MS: i64 = 86_400_000;

/// Bodies by the id that they were saved under. Each can be sent by its app for a day.
#[derive(Debug)]
pub(super) struct SavedBodies<T>(Mutex<Bounded<String, Saved<T>>>);

#[derive(Debug)]
struct Saved<T> {
    app: String,
    at_ms: i64,
    body: Arc<T>,
}

/// What is said of a body that cannot be sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lost {
    pub(super) unknown: &'static str,
    pub(super) foreign: &'static str,
    pub(super) old: &'static str,
}

impl<T> Default for SavedBodies<T> {
    fn default() -> Self {
        Self(Mutex::new(Bounded::new(MAX_BODIES)))
    }
}

impl<T> SavedBodies<T> {
    pub(super) fn save(&self, id: &str, app: &str, at_ms: i64, body: T) {
        self.lock().insert(id.to_owned(), Saved { app: app.to_owned(), at_ms, body: Arc::new(body) });
    }

    /// The body behind an id, of this app and of the last day.
    pub(super) fn find(&self, id: &str, app: &str, now_ms: i64, lost: Lost) -> Result<Arc<T>, &'static str> {
        match self.lock().get(id) {
            None => Err(lost.unknown),
            Some(saved) if saved.app != app => Err(lost.foreign),
            Some(saved) if now_ms - saved.at_ms >= DAY_MS => Err(lost.old),
            Some(saved) => Ok(Arc::clone(&saved.body)),
        }
    }

    /// How many are kept.
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, Bounded<String, Saved<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_its_apps_for_a_day() {
        let bodies = SavedBodies::default();
        bodies.save("1", "app", 0, 7);
        let find = |id, app, now_ms| {
            bodies.find(id, app, now_ms, Lost { unknown: "u", foreign: "f", old: "o" }).map(|body| *body)
        };
        assert_eq!((find("1", "app", DAY_MS - 1), find("1", "app", DAY_MS)), (Ok(7), Err("o")));
        assert_eq!((find("1", "other", 0), find("2", "app", 0), bodies.len()), (Err("f"), Err("u"), 1));
    }
}
