//! The JWT that speaks for a .p8 key: one for all topics, connections and certificates of the key, renewed when it is asked
//! for and old, never sooner than 20 minutes after the one before.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use http::header::HeaderValue;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;

use super::credential::{CredentialError, Key};
use crate::clock::Clock;

/// Renewed at a random age of 45 to 50 min, so that several servers do not do it at once. Apple refuses tokens over 60 min.
const RENEW_FROM: Duration = Duration::from_mins(45);
const RENEW_SPREAD: Duration = Duration::from_mins(5);
/// Apple answers 429 `TooManyProviderTokenUpdates` to tokens that change more often.
const LEAST_AGE: Duration = Duration::from_mins(20);

/// See the module.
pub(super) struct ProviderToken {
    header: Header,
    team_id: String,
    key: EncodingKey,
    clock: Clock,
    renew_after: Duration,
    current: Mutex<Option<Minted>>,
}

impl std::fmt::Debug for ProviderToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProviderToken").field("team_id", &self.team_id).finish_non_exhaustive()
    }
}

#[derive(Serialize)]
struct Claims<'a> {
    /// The team.
    iss: &'a str,
    /// Seconds since the epoch.
    iat: i64,
}

struct Minted {
    value: HeaderValue,
    issued_at: DateTime<Utc>,
    made: Instant,
}

impl ProviderToken {
    /// For a key; the first token is made when it is first asked for.
    pub(super) fn new(key: &Key, clock: Clock) -> Result<Self, CredentialError> {
        let mut header = Header::new(Algorithm::ES256);
        header.typ = None;
        header.kid = Some(key.key_id.clone());
        let renew_after = RENEW_FROM + RENEW_SPREAD.mul_f64(rand::random());
        Ok(Self {
            header,
            team_id: key.team_id.clone(),
            key: key.encoding_key()?,
            clock,
            renew_after,
            current: Mutex::new(None),
        })
    }

    /// The value of the `authorization` header. Made under a lock (some 50 µs), so that there is one at a time.
    /// # Errors
    /// The key does not sign: it was checked when it was read.
    pub(super) fn current(&self) -> Result<HeaderValue, jsonwebtoken::errors::Error> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        match current.as_ref().filter(|minted| minted.made.elapsed() < self.renew_after) {
            Some(minted) => Ok(minted.value.clone()),
            None => Ok(current.insert(self.mint()?).value.clone()),
        }
    }

    /// The vendor says that `used` is too old. Makes a new one, unless that was done meanwhile or `used` is too young: then
    /// a clock is wrong, and another token would not help. Answers whether the current one is another.
    pub(super) fn replace(&self, used: &HeaderValue) -> bool {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(minted) = current.as_ref().filter(|minted| minted.value == *used) {
            // A machine that slept counts no time by its monotonic clock.
            let by_wall = (self.clock.database_now() - minted.issued_at).to_std().unwrap_or_default();
            if minted.made.elapsed().max(by_wall) < LEAST_AGE {
                return false;
            }
            match self.mint() {
                Ok(minted) => *current = Some(minted),
                Err(_) => return false,
            }
        }
        true
    }

    fn mint(&self) -> Result<Minted, jsonwebtoken::errors::Error> {
        // Apple judges it by a clock of its own.
        let issued_at = self.clock.database_now();
        let claims = Claims { iss: &self.team_id, iat: issued_at.timestamp() };
        let token = jsonwebtoken::encode(&self.header, &claims, &self.key)?;
        let mut value = HeaderValue::try_from(format!("bearer {token}"))
            .map_err(|_| jsonwebtoken::errors::ErrorKind::InvalidToken)?;
        value.set_sensitive(true); // not in logs, and never in the connection's header table
        Ok(Minted { value, issued_at, made: Instant::now() })
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::super::credential::tests::key;
    use super::*;

    fn token(clock: &Clock) -> ProviderToken {
        ProviderToken::new(&key("ABC123DEFG", "TEAM123456"), clock.clone()).unwrap()
    }

    #[test]
    fn the_signing_input_is_the_documents() {
        let clock = Clock::starting_at(DateTime::from_timestamp(1_790_000_000, 0).unwrap());
        let value = token(&clock).current().unwrap();
        let jwt = value.to_str().unwrap().strip_prefix("bearer ").unwrap().to_owned();
        let (input, signature) = jwt.rsplit_once('.').unwrap();
        let documented = "eyJhbGciOiJFUzI1NiIsImtpZCI6IkFCQzEyM0RFRkcifQ.\
                          eyJpc3MiOiJURUFNMTIzNDU2IiwiaWF0IjoxNzkwMDAwMDAwfQ";
        assert_eq!(input, documented);
        assert_eq!(signature.len(), 86, "64 bytes, base64url without padding");
        assert!(value.is_sensitive());
    }

    #[test]
    fn one_token_serves_everybody_until_it_is_old() {
        let clock = Clock::from_wall();
        let token = token(&clock);
        let first = token.current().unwrap();
        let threads: Vec<_> = (0..8).map(|_| token.current().unwrap()).collect();
        assert!(
            threads.iter().all(|other| *other == first),
            "ES256 signatures are random: the same means not made anew"
        );
        assert!((RENEW_FROM..=RENEW_FROM + RENEW_SPREAD).contains(&token.renew_after));
        token.current.lock().unwrap().as_mut().unwrap().made =
            Instant::now().checked_sub(RENEW_FROM + RENEW_SPREAD).unwrap();
        assert_ne!(token.current().unwrap(), first);
    }

    #[test]
    fn a_refused_token_is_replaced_once_and_never_a_young_one() {
        let clock = Clock::from_wall();
        let token = token(&clock);
        let first = token.current().unwrap();
        assert!(!token.replace(&first), "19 minutes or less: a clock is wrong");
        clock.advance(TimeDelta::minutes(21));
        assert!(token.replace(&first));
        let second = token.current().unwrap();
        assert_ne!(second, first);
        assert!(token.replace(&first), "somebody else replaced it");
        assert_eq!(token.current().unwrap(), second);
    }
}
