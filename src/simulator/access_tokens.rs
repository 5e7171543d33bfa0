//! Access tokens that a stand-in gave out: whose they are and how long they live.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::bounded::Bounded;

/// How many are remembered; beyond, the oldest are forgotten.
const MAX_TOKENS: usize = 10_000;

/// What a stand-in knows of a token that it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shown {
    /// It lives; whose it is.
    Live(String),
    /// It was given out, and its time is over.
    Expired,
    /// It was never given out, or was revoked.
    Unknown,
}

/// The tokens of one stand-in.
#[derive(Debug, Default)]
pub(super) struct AccessTokens(Mutex<State>);

#[derive(Debug)]
struct State {
    tokens: Bounded<String, Token>,
    granted: u64,
}

impl Default for State {
    fn default() -> Self {
        Self { tokens: Bounded::new(MAX_TOKENS), granted: 0 }
    }
}

#[derive(Debug)]
struct Token {
    owner: String,
    expires_at_ms: i64,
}

impl AccessTokens {
    /// Remembers a token that was made for an account. Earlier ones stay valid.
    pub(super) fn grant(&self, token: &str, owner: &str, expires_at_ms: i64) {
        let mut state = self.lock();
        state.granted += 1;
        state.tokens.insert(token.to_owned(), Token { owner: owner.to_owned(), expires_at_ms });
    }

    /// The same for a token that lives so long from now on.
    pub(super) fn grant_for(&self, token: &str, owner: &str, now_ms: i64, lifetime: Duration) {
        let lifetime_ms = i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX);
        self.grant(token, owner, now_ms.saturating_add(lifetime_ms));
    }

    /// Judges a token.
    pub(super) fn judge(&self, token: &str, now_ms: i64) -> Shown {
        match self.lock().tokens.get(token) {
            None => Shown::Unknown,
            Some(token) if token.expires_at_ms <= now_ms => Shown::Expired,
            Some(token) => Shown::Live(token.owner.clone()),
        }
    }

    /// All tokens given out so far are over.
    pub(super) fn expire_all(&self) {
        self.lock().tokens.values_mut().for_each(|token| token.expires_at_ms = i64::MIN);
    }

    /// All tokens given out so far are unknown.
    pub(super) fn revoke_all(&self) {
        self.lock().tokens.clear();
    }

    /// How many were given out since the start.
    pub(super) fn granted(&self) -> u64 {
        self.lock().granted
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_lives_until_its_time_or_its_revocation() {
        let tokens = AccessTokens::default();
        tokens.grant("a", "app", 1_000);
        tokens.grant("b", "app", 2_000);
        assert_eq!(tokens.judge("a", 999), Shown::Live("app".to_owned()));
        assert_eq!((tokens.judge("a", 1_000), tokens.judge("c", 0)), (Shown::Expired, Shown::Unknown));
        tokens.expire_all();
        assert_eq!(tokens.judge("b", 0), Shown::Expired);
        tokens.revoke_all();
        assert_eq!((tokens.judge("b", 0), tokens.granted()), (Shown::Unknown, 2));
    }

    #[test]
    fn the_oldest_are_forgotten_first() {
        let tokens = AccessTokens::default();
        for number in 0..=MAX_TOKENS {
            tokens.grant(&number.to_string(), "app", i64::MAX);
        }
        assert_eq!((tokens.judge("0", 0), tokens.judge("1", 0)), (Shown::Unknown, Shown::Live("app".to_owned())));
    }
}
