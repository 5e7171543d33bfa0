//! Which requests a stand-in has answered already, for vendors that drop a second one with the same key.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::bounded::Bounded;

/// How many are remembered; beyond, the oldest are forgotten.
const MAX_KEYS: usize = 500_000;

/// Keys of requests, and the message id each was answered with. Of a key only a hash is kept.
#[derive(Debug)]
pub(super) struct Seen {
    hasher: RandomState,
    ids: Mutex<Bounded<u64, String>>,
}

impl Default for Seen {
    fn default() -> Self {
        Self { hasher: RandomState::new(), ids: Mutex::new(Bounded::new(MAX_KEYS)) }
    }
}

impl Seen {
    /// The id that an earlier request with this key was answered with.
    pub(super) fn find(&self, key: &str) -> Option<String> {
        self.lock().get(&self.hasher.hash_one(key)).cloned()
    }

    /// Remembers a key under an id, unless another call was faster: then that one's id comes back.
    pub(super) fn claim(&self, key: &str, id: &str) -> Result<(), String> {
        let key = self.hasher.hash_one(key);
        let mut ids = self.lock();
        if let Some(earlier) = ids.get(&key) {
            return Err(earlier.clone());
        }
        ids.insert(key, id.to_owned());
        Ok(())
    }

    /// How many are remembered.
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, Bounded<u64, String>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_id_of_a_key_stays_and_the_oldest_key_goes() {
        let seen = Seen { ids: Mutex::new(Bounded::new(2)), ..Seen::default() };
        assert_eq!(seen.claim("a", "1"), Ok(()));
        assert_eq!(seen.claim("a", "2"), Err("1".to_owned()));
        assert_eq!(seen.claim("b", "3"), Ok(()));
        assert_eq!(seen.claim("c", "4"), Ok(()));
        assert_eq!((seen.find("a"), seen.find("b"), seen.len()), (None, Some("3".to_owned()), 2));
    }
}
