//! Things that certificates with the same credentials share, so that the vendor sees one sender: access tokens, connections.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Hands out the one living value of each key. A value lives as long as somebody uses it.
#[derive(Debug)]
pub struct Shared<K, V>(Mutex<HashMap<K, Weak<V>>>);

impl<K, V> Default for Shared<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, V> Shared<K, V> {
    /// The value of a key, made if nobody uses one.
    /// # Errors
    /// What `make` answers.
    pub fn get_or_make<E>(&self, key: K, make: impl FnOnce() -> Result<V, E>) -> Result<Arc<V>, E> {
        let mut values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = values.get(&key).and_then(Weak::upgrade) {
            return Ok(value);
        }
        values.retain(|_, value| value.strong_count() > 0);
        let value = Arc::new(make()?);
        values.insert(key, Arc::downgrade(&value));
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_shared_while_it_is_used_and_forgotten_then() {
        let shared = Shared::<u8, u32>::default();
        let make = |value: u32| move || Ok::<_, ()>(value);
        let first = shared.get_or_make(1, make(10)).unwrap();
        assert_eq!(*shared.get_or_make(1, make(11)).unwrap(), 10);
        assert_eq!(*shared.get_or_make(2, make(20)).unwrap(), 20);
        drop(first);
        assert_eq!(*shared.get_or_make(1, make(12)).unwrap(), 12);
        assert!(shared.get_or_make(3, || Err::<u32, _>("no")).is_err());
        assert!(shared.0.lock().unwrap().len() <= 2, "what nobody uses is forgotten");
    }
}
