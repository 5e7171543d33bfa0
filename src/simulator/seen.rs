//! Which requests a stand-in has answered already, for vendors that drop a second one with the same key.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many are remembered; beyond, the oldest are forgotten.
const MAX_KEYS: usize = 500_000;

/// Keys of requests, and the message id each was answered with. Of a key only a hash is kept.
#[derive(Debug)]
pub(super) struct Seen {
    most: usize,
    hasher: RandomState,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    ids: HashMap<u64, String>,
    order: VecDeque<u64>,
}

impl Default for Seen {
    fn default() -> Self {
        Self { most: MAX_KEYS, hasher: RandomState::new(), state: Mutex::default() }
    }
}

impl Seen {
    /// The id that an earlier request with this key was answered with.
    pub(super) fn find(&self, key: &str) -> Option<String> {
        self.lock().ids.get(&self.hasher.hash_one(key)).cloned()
    }

    /// Remembers a key under an id, unless another call was faster: then that one's id comes back.
    pub(super) fn claim(&self, key: &str, id: &str) -> Result<(), String> {
        let key = self.hasher.hash_one(key);
        let mut state = self.lock();
        if let Some(earlier) = state.ids.get(&key) {
            return Err(earlier.clone());
        }
        if state.order.len() >= self.most
            && let Some(oldest) = state.order.pop_front()
        {
            state.ids.remove(&oldest);
        }
        state.order.push_back(key);
        state.ids.insert(key, id.to_owned());
        Ok(())
    }

    /// How many are remembered.
    pub(super) fn len(&self) -> usize {
        self.lock().order.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_id_of_a_key_stays_and_the_oldest_key_goes() {
        let seen = Seen { most: 2, ..Seen::default() };
        assert_eq!(seen.claim("a", "1"), Ok(()));
        assert_eq!(seen.claim("a", "2"), Err("1".to_owned()));
        assert_eq!(seen.claim("b", "3"), Ok(()));
        assert_eq!(seen.claim("c", "4"), Ok(()));
        assert_eq!((seen.find("a"), seen.find("b"), seen.len()), (None, Some("3".to_owned()), 2));
    }
}
