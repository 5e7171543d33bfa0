//! Access tokens: one for all certificates of a credential, fetched by one caller at a time, renewed before it ends and
//! once when the vendor refuses it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::Mutex as AsyncMutex;

use super::http::Reply;
use super::outcome::{Outcome, Progress, Reason};
use crate::domain::certificate::VendorKind;

/// Who failed to get a token is not asked again for this long: everybody takes the same failure.
const FAILURE_HOLDS: Duration = Duration::from_secs(1);
/// The same for a token that is fetched ahead of time: the old one still works.
const EARLY_FAILURE_HOLDS: Duration = Duration::from_secs(30);
/// So many tokens in a row that were refused before they ever worked: then it is not the token.
const FRESH_REFUSED: u32 = 2;
/// After that no other one is fetched for this long.
const REFUSED_REST: Duration = Duration::from_secs(10);

/// A token as the vendor gave it out.
pub(super) struct Granted {
    pub value: String,
    /// When the next one is fetched, ahead of time.
    pub renew_after: Duration,
    /// When it is no longer sent.
    pub usable_for: Duration,
}

impl std::fmt::Debug for Granted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Granted").field("usable_for", &self.usable_for).finish_non_exhaustive()
    }
}

/// Fetches a token from the vendor.
#[async_trait]
pub(super) trait Grant: Send + Sync + std::fmt::Debug {
    /// One request for a token.
    /// # Errors
    /// How a delivery that needs the token ends.
    async fn grant(&self) -> Result<Granted, Outcome>;
}

/// How a delivery ends for which the vendor answered no token; never by being given up, whatever is wrong with the request.
pub(super) fn refused(reply: &Reply, code: Option<String>) -> Outcome {
    let status = reply.status.as_u16();
    let reason = match status {
        429 | 503 => Reason::RateLimited,
        400..=499 => Reason::CertificateRefused,
        _ => Reason::VendorFault,
    };
    let code = code.unwrap_or_else(|| format!("HTTP {status}"));
    let outcome = Outcome::new(reason).with_code(format!("token: {code}"));
    Outcome { retry_after: reply.retry_after(), ..outcome }
}

/// See the module.
#[derive(Debug)]
pub(super) struct AccessToken {
    vendor: VendorKind,
    grant: Box<dyn Grant>,
    current: Mutex<Current>,
    /// Held by who fetches; knows the last failure.
    fetching: Arc<AsyncMutex<Option<(Instant, Outcome)>>>,
}

#[derive(Debug, Default)]
struct Current {
    held: Option<Held>,
    /// How many tokens in a row were refused before they ever worked, and when the last of them.
    fresh_refused: u32,
    refused_at: Option<Instant>,
}

#[derive(Clone)]
struct Held {
    value: Arc<str>,
    made: Instant,
    renew_after: Duration,
    usable_for: Duration,
    /// What the vendor said of it: taken once, or refused.
    has_worked: bool,
    is_refused: bool,
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held").field("made", &self.made).finish_non_exhaustive()
    }
}

impl AccessToken {
    /// The first token is fetched when it is first asked for.
    pub(super) fn new(vendor: VendorKind, grant: impl Grant + 'static) -> Self {
        Self { vendor, grant: Box::new(grant), current: Mutex::default(), fetching: Arc::default() }
    }

    /// The token to send. Waits for the vendor only when there is none that works.
    /// # Errors
    /// No token could be had: how the delivery ends.
    pub(super) async fn current(self: &Arc<Self>) -> Result<Arc<str>, Outcome> {
        let asked = Instant::now();
        if let Some(held) = self.held() {
            if held.made.elapsed() >= held.renew_after {
                self.renew_ahead();
            }
            return Ok(held.value);
        }
        let mut failure = self.fetching.lock().await;
        match self.held() {
            Some(held) => Ok(held.value),
            None => self.fetch_unless_failed(asked, &mut failure).await,
        }
    }

    /// Fetches the next token beside the calls that go on with this one; one request at a time, and not again soon after a
    /// failure.
    fn renew_ahead(self: &Arc<Self>) {
        let Ok(mut failure) = Arc::clone(&self.fetching).try_lock_owned() else { return };
        if failure.as_ref().is_some_and(|(at, _)| at.elapsed() < EARLY_FAILURE_HOLDS) {
            return;
        }
        let this = Arc::clone(self);
        tokio::spawn(async move {
            if let Err(outcome) = this.fetch(&mut failure).await {
                let code = outcome.vendor_code.unwrap_or_default();
                tracing::warn!(vendor = %this.vendor, code, "no new access token; the old one is used while it lives");
            }
        });
    }

    /// The vendor took it.
    pub(super) fn worked(&self, used: &str) {
        let mut current = self.lock();
        if let Some(held) = current.held.as_mut().filter(|held| !held.has_worked && *held.value == *used) {
            held.has_worked = true;
            current.fresh_refused = 0;
        }
    }

    /// The vendor refused it. Answers whether so many in a row were refused before they ever worked that it is not the token:
    /// one alone may have been ended by another server's.
    pub(super) fn refused(&self, used: &str) -> bool {
        let mut current = self.lock();
        let fresh = |held: &&mut Held| !held.has_worked && !held.is_refused && *held.value == *used;
        if let Some(held) = current.held.as_mut().filter(fresh) {
            held.is_refused = true;
            current.fresh_refused += 1;
            current.refused_at = Some(Instant::now());
        }
        current.fresh_refused >= FRESH_REFUSED
    }

    /// The token to try instead of `used`, which was refused. `None`: it is not the token.
    /// # Errors
    /// As [`Self::current`].
    pub(super) async fn replace(&self, used: &str) -> Result<Option<Arc<str>>, Outcome> {
        let asked = Instant::now();
        let mut failure = self.fetching.lock().await;
        if let Some(held) = self.held().filter(|held| *held.value != *used) {
            return Ok(Some(held.value));
        }
        let rests = {
            let current = self.lock();
            let is_recent = current.refused_at.is_some_and(|at| at.elapsed() < REFUSED_REST);
            current.fresh_refused >= FRESH_REFUSED && is_recent
        };
        if rests {
            return Ok(None);
        }
        self.forget(used);
        self.fetch_unless_failed(asked, &mut failure).await.map(Some)
    }

    /// The next call does not use this token.
    pub(super) fn forget(&self, used: &str) {
        let mut current = self.lock();
        if current.held.as_ref().is_some_and(|held| *held.value == *used) {
            current.held = None;
        }
    }

    async fn fetch_unless_failed(
        &self,
        asked: Instant,
        failure: &mut Option<(Instant, Outcome)>,
    ) -> Result<Arc<str>, Outcome> {
        match failure {
            Some((at, outcome)) if *at >= asked || at.elapsed() < FAILURE_HOLDS => Err(outcome.clone()),
            _ => self.fetch(failure).await,
        }
    }

    async fn fetch(&self, failure: &mut Option<(Instant, Outcome)>) -> Result<Arc<str>, Outcome> {
        let made = Instant::now();
        match self.grant.grant().await {
            Ok(Granted { value, renew_after, usable_for }) => {
                // So that several servers do not renew at once.
                let renew_after = renew_after.mul_f64(0.9 + 0.1 * rand::random::<f64>());
                let value: Arc<str> = value.into();
                let held = Held {
                    value: Arc::clone(&value),
                    made,
                    renew_after,
                    usable_for,
                    has_worked: false,
                    is_refused: false,
                };
                self.lock().held = Some(held);
                *failure = None;
                Ok(value)
            }
            Err(outcome) => {
                // "Too fast" is about requests for tokens, not about pushes.
                let outcome = Outcome { progress: Progress::Unasked, spares_lane: true, ..outcome };
                *failure = Some((Instant::now(), outcome.clone()));
                Err(outcome)
            }
        }
    }

    /// The token, while it is usable.
    fn held(&self) -> Option<Held> {
        self.lock().held.clone().filter(|held| held.made.elapsed() < held.usable_for)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// Numbers its tokens; fails as often as it is told.
    #[derive(Debug, Clone, Default)]
    struct Counter {
        grants: Arc<AtomicU32>,
        failures: Arc<AtomicU32>,
        renew_after: Duration,
        usable_for: Duration,
    }

    #[async_trait]
    impl Grant for Counter {
        async fn grant(&self) -> Result<Granted, Outcome> {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let number = self.grants.fetch_add(1, Ordering::SeqCst);
            let fails = |left: u32| left.checked_sub(1);
            if self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fails).is_ok() {
                return Err(Outcome::new(Reason::VendorFault).with_code("token"));
            }
            let Self { renew_after, usable_for, .. } = *self;
            Ok(Granted { value: number.to_string(), renew_after, usable_for })
        }
    }

    fn counted(renew_after: Duration) -> (Counter, Arc<AccessToken>) {
        let counter = Counter { renew_after, usable_for: Duration::from_mins(1), ..Counter::default() };
        (counter.clone(), Arc::new(AccessToken::new(VendorKind::Vivo, counter)))
    }

    async fn all(token: &Arc<AccessToken>, callers: usize) -> Vec<Result<Arc<str>, Outcome>> {
        futures_util::future::join_all((0..callers).map(|_| token.current())).await
    }

    #[tokio::test]
    async fn many_callers_make_one_request() {
        let (counter, token) = counted(Duration::from_mins(1));
        assert!(all(&token, 50).await.into_iter().all(|value| *value.unwrap() == *"0"));
        assert_eq!(counter.grants.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn an_old_token_is_used_while_the_next_one_is_fetched() {
        let (counter, token) = counted(Duration::ZERO);
        let grants = || counter.grants.load(Ordering::SeqCst);
        token.current().await.unwrap();
        assert!(all(&token, 10).await.into_iter().all(|value| *value.unwrap() == *"0"), "nobody waits");
        while grants() < 2 {
            tokio::task::yield_now().await;
        }
        // It still works when the next one cannot be had, and nobody asks at every call.
        counter.failures.store(u32::MAX, Ordering::SeqCst);
        let until = Instant::now() + Duration::from_millis(200);
        let mut last = token.current().await.unwrap();
        while Instant::now() < until {
            last = token.current().await.unwrap();
            tokio::task::yield_now().await;
        }
        assert_ne!(*last, *"0");
        assert!(grants() <= 4, "{}", grants());
    }

    #[tokio::test]
    async fn a_refused_token_is_replaced_once() {
        let (counter, token) = counted(Duration::from_mins(1));
        let first = token.current().await.unwrap();
        let replaced = futures_util::future::join_all((0..10).map(|_| token.replace(&first))).await;
        assert!(replaced.into_iter().all(|another| another.unwrap().as_deref() == Some("1")));
        assert_eq!(counter.grants.load(Ordering::SeqCst), 2);
        token.forget(&first);
        assert_eq!(&*token.current().await.unwrap(), "1", "another one was forgotten");
        token.forget("1");
        assert_eq!(&*token.current().await.unwrap(), "2");
    }

    #[tokio::test]
    async fn a_vendor_that_refuses_every_token_is_not_asked_for_one_after_the_other() {
        let (counter, token) = counted(Duration::from_mins(1));
        let first = token.current().await.unwrap();
        token.worked(&first);
        assert!(!token.refused(&first), "it worked before");
        let second = token.replace(&first).await.unwrap().unwrap();
        assert!(!token.refused(&second) && !token.refused(&second), "one alone, however often it is told");
        let third = token.replace(&second).await.unwrap().unwrap();
        assert!(token.refused(&third), "two in a row: it is not the token");
        assert_eq!(token.replace(&third).await.unwrap(), None);
        assert_eq!(counter.grants.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn tokens_that_end_again_and_again_are_replaced_as_long_as_each_works() {
        let (counter, token) = counted(Duration::from_mins(1));
        for number in 0..20 {
            let used = token.current().await.unwrap();
            token.worked(&used);
            assert!(!token.refused(&used));
            assert!(token.replace(&used).await.unwrap().is_some(), "{number}");
        }
        assert_eq!(counter.grants.load(Ordering::SeqCst), 21);
    }

    #[tokio::test]
    async fn a_failure_is_shared_by_all_who_waited_for_it() {
        let (counter, token) = counted(Duration::from_mins(1));
        counter.failures.store(u32::MAX, Ordering::SeqCst);
        for value in all(&token, 50).await {
            let outcome = value.unwrap_err();
            assert_eq!((outcome.progress, outcome.spares_lane), (Progress::Unasked, true), "no push was asked for");
        }
        assert!(token.current().await.is_err());
        assert_eq!(counter.grants.load(Ordering::SeqCst), 1);
        counter.failures.store(0, Ordering::SeqCst);
        tokio::time::sleep(FAILURE_HOLDS).await;
        assert_eq!(*token.current().await.unwrap(), *"1");
    }

    #[tokio::test]
    async fn a_token_that_ended_is_not_sent() {
        let usable_for = Duration::from_millis(30);
        let token = Arc::new(AccessToken::new(
            VendorKind::Vivo,
            Counter { renew_after: usable_for, usable_for, ..Counter::default() },
        ));
        assert_eq!(&*token.current().await.unwrap(), "0");
        tokio::time::sleep(usable_for).await;
        assert_eq!(&*token.current().await.unwrap(), "1");
    }

    #[tokio::test]
    async fn the_token_is_not_shown() {
        let (counter, token) = counted(Duration::from_mins(1));
        token.current().await.unwrap();
        let granted = Granted { value: "s3cret".to_owned(), ..counter.grant().await.unwrap() };
        assert!(!format!("{token:?} {granted:?}").contains("s3cret") && !format!("{token:?}").contains("value"));
    }
}
