//! What happened a moment ago, by key: bounded memory without a search for old entries.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A generation is dropped early when it grows beyond this.
const MAX_ENTRIES: usize = 200_000;

/// Values remembered for some time. Two generations: the older one is dropped whole.
#[derive(Debug)]
pub(super) struct Recent<V> {
    generations: Mutex<Generations<V>>,
    kept_for: Duration,
}

#[derive(Debug)]
struct Generations<V> {
    current: HashMap<u128, V>,
    previous: HashMap<u128, V>,
    rotated_at: Instant,
}

impl<V: Copy> Recent<V> {
    /// Remembers each entry at least for `kept_for`.
    pub(super) fn keeping(kept_for: Duration) -> Self {
        let rotated_at = Instant::now();
        let generations = Generations { current: HashMap::new(), previous: HashMap::new(), rotated_at };
        Self { generations: Mutex::new(generations), kept_for }
    }

    /// Notes a value; a newer one takes the place of an older.
    pub(super) fn note(&self, key: u128, value: V) {
        let mut generations = self.lock();
        let is_over = generations.rotated_at.elapsed() > self.kept_for;
        if is_over || generations.current.len() > MAX_ENTRIES {
            generations.previous = std::mem::take(&mut generations.current);
            generations.rotated_at = Instant::now();
        }
        generations.current.insert(key, value);
    }

    /// What was noted last.
    pub(super) fn find(&self, key: impl FnOnce() -> u128) -> Option<V> {
        let generations = self.lock();
        if generations.current.is_empty() && generations.previous.is_empty() {
            return None;
        }
        let key = key();
        generations.current.get(&key).or_else(|| generations.previous.get(&key)).copied()
    }

    fn lock(&self) -> MutexGuard<'_, Generations<V>> {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A key so long that no two things share one.
pub(super) fn key_of(thing: impl Hash) -> u128 {
    let hash = |salt: u8| BuildHasherDefault::<DefaultHasher>::default().hash_one((salt, &thing));
    u128::from(hash(0)) << 64 | u128::from(hash(1))
}
