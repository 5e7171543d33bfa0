//! The HTTP/2 connections of one credential to one host: several carry more than one.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use crate::vendor::http::{HttpClientError, HttpOptions};
use crate::vendor::http2::{Endpoint, Http2};
use crate::vendor::tls::{Identity, http2_connector};

/// A connection is not replaced again sooner: Apple takes frequent opening and closing for an attack.
pub(super) const LEAST_AGE: Duration = Duration::from_secs(1);
/// A complaint that lasts is worth another connection, a single one is not.
pub(super) const OLD: Duration = Duration::from_mins(1);

/// See the module.
#[derive(Debug)]
pub(super) struct Connections {
    all: Vec<Connection>,
    slots: Arc<Semaphore>,
    /// Where the search for the least busy one begins, so that light traffic is spread too.
    turn: AtomicUsize,
    endpoint: Arc<Endpoint>,
}

#[derive(Debug)]
struct Connection {
    current: Mutex<Arc<Opened>>,
    in_flight: AtomicUsize,
}

#[derive(Debug)]
struct Opened {
    client: Http2,
    at: Instant,
    /// Milliseconds from `at` to the last answer that came over it.
    answered_ms: AtomicU64,
}

impl Opened {
    fn now(endpoint: &Arc<Endpoint>) -> Self {
        let client = Http2::new(Arc::clone(endpoint));
        Self { client, at: Instant::now(), answered_ms: AtomicU64::new(0) }
    }

    fn age_ms(&self) -> u64 {
        u64::try_from(self.at.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// One stream of a connection.
pub(super) struct Lease<'a> {
    pool: &'a Connections,
    connection: &'a Connection,
    opened: Arc<Opened>,
    leased_ms: u64,
}

impl Connections {
    /// `count` connections, made when first used, with at most `streams` requests in flight on each.
    pub(super) fn open(
        base_url: &str,
        options: &HttpOptions,
        identity: Option<Identity>,
        count: usize,
        streams: usize,
    ) -> Result<Self, HttpClientError> {
        let tls = http2_connector(options.extra_ca_file.as_deref(), identity)?;
        let endpoint = Endpoint::new(base_url, tls, options.connect_timeout, options.call_timeout)
            .ok_or_else(|| HttpClientError::Host(base_url.to_owned()))?;
        let endpoint = Arc::new(endpoint);
        let open = |_| {
            let current = Mutex::new(Arc::new(Opened::now(&endpoint)));
            Connection { current, in_flight: AtomicUsize::new(0) }
        };
        let all: Vec<Connection> = (0..count.max(1)).map(open).collect();
        let slots = Arc::new(Semaphore::new(all.len() * streams));
        Ok(Self { all, slots, turn: AtomicUsize::new(0), endpoint })
    }

    /// One permit for each stream of all connections.
    pub(super) fn slots(&self) -> Arc<Semaphore> {
        Arc::clone(&self.slots)
    }

    /// A stream of the least busy connection.
    pub(super) fn lease(&self) -> Lease<'_> {
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        let in_turn = (0..self.all.len()).map(|step| &self.all[(first.wrapping_add(step)) % self.all.len()]);
        let connection =
            in_turn.min_by_key(|connection| connection.in_flight.load(Ordering::Relaxed)).unwrap_or(&self.all[0]);
        connection.in_flight.fetch_add(1, Ordering::Relaxed);
        let opened = connection.opened();
        let leased_ms = opened.age_ms();
        Lease { pool: self, connection, opened, leased_ms }
    }
}

impl Connections {
    fn replace(&self, connection: &Connection, used: &Arc<Opened>, least_age: Duration) {
        let mut current = connection.current.lock().unwrap_or_else(PoisonError::into_inner);
        if Arc::ptr_eq(&current, used) && used.at.elapsed() >= least_age {
            *current = Arc::new(Opened::now(&self.endpoint));
        }
    }
}

impl Connection {
    fn opened(&self) -> Arc<Opened> {
        Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Lease<'_> {
    pub(super) fn client(&self) -> &Http2 {
        &self.opened.client
    }

    /// An answer came.
    pub(super) fn answered(&self) {
        self.opened.answered_ms.fetch_max(self.opened.age_ms(), Ordering::Relaxed);
    }

    /// No answer came in time. If none came to anybody on this connection meanwhile, it is taken for dead: its PINGs would
    /// find out later.
    pub(super) fn timed_out(&self) {
        if self.opened.answered_ms.load(Ordering::Relaxed) < self.leased_ms || self.leased_ms == 0 {
            self.replace(LEAST_AGE);
        }
    }

    /// Later requests go on a new connection; those in flight on this one end there. Once, however many ask, and only when
    /// this one is at least so old.
    pub(super) fn replace(&self, least_age: Duration) {
        self.pool.replace(self.connection, &self.opened, least_age);
    }

    /// The same for all connections of the credential: what was said is about every one.
    pub(super) fn replace_all(&self) {
        for connection in &self.pool.all {
            let opened = connection.opened();
            self.pool.replace(connection, &opened, LEAST_AGE);
        }
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.connection.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(count: usize, streams: usize) -> Connections {
        let timeout = Duration::from_secs(1);
        let options =
            HttpOptions { connect_timeout: timeout, call_timeout: timeout, idle_connections: 1, extra_ca_file: None };
        Connections::open("https://push.example.com", &options, None, count, streams).unwrap()
    }

    #[tokio::test]
    async fn streams_are_spread_evenly() {
        let pool = pool(2, 3);
        let mut leases = Vec::new();
        for _ in 0..6 {
            leases.push(pool.lease());
        }
        assert!(pool.all.iter().all(|connection| connection.in_flight.load(Ordering::Relaxed) == 3));
        assert_eq!(pool.slots().available_permits(), 6, "the lanes' pumps take them");
        leases.clear();
        assert!(pool.all.iter().all(|connection| connection.in_flight.load(Ordering::Relaxed) == 0));
    }

    #[tokio::test]
    async fn a_connection_without_any_answer_is_taken_for_dead() {
        let pool = pool(1, 10);
        let old = Instant::now().checked_sub(OLD).unwrap();
        let aged = Opened { at: old, ..Opened::now(&pool.endpoint) };
        *pool.all[0].current.lock().unwrap() = Arc::new(aged);
        let (slow, quick) = (pool.lease(), pool.lease());
        quick.answered();
        slow.timed_out();
        assert!(Arc::ptr_eq(&pool.lease().opened, &slow.opened), "one slow answer among others");
        tokio::time::sleep(Duration::from_millis(2)).await;
        let silent = pool.lease();
        silent.timed_out();
        assert!(!Arc::ptr_eq(&pool.lease().opened, &slow.opened));
    }

    #[tokio::test]
    async fn a_connection_is_replaced_once() {
        let pool = pool(1, 10);
        let (one, two) = (pool.lease(), pool.lease());
        one.replace(OLD);
        assert!(Arc::ptr_eq(&pool.lease().opened, &one.opened), "too young");
        one.replace(Duration::ZERO);
        let next = pool.lease();
        assert!(!Arc::ptr_eq(&next.opened, &one.opened));
        two.replace(Duration::ZERO);
        assert!(Arc::ptr_eq(&pool.lease().opened, &next.opened), "it was replaced already");
    }
}
