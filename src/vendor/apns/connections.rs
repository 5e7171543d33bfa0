//! The HTTP/2 connections of one credential to one host. A reqwest client is one connection for a host; several carry more.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::{Client, Identity};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::vendor::http::{HttpClientError, HttpOptions, http2_client};

/// A connection is not replaced again sooner: Apple takes frequent opening and closing for an attack.
pub(super) const LEAST_AGE: Duration = Duration::from_secs(1);
/// A complaint that lasts is worth another connection, a single one is not.
pub(super) const OLD: Duration = Duration::from_mins(1);

/// See the module.
#[derive(Debug)]
pub(super) struct Connections {
    all: Vec<Connection>,
    slots: Semaphore,
    /// Where the search for the least busy one begins, so that light traffic is spread too.
    turn: AtomicUsize,
    options: HttpOptions,
    identity: Option<Identity>,
}

#[derive(Debug)]
struct Connection {
    current: Mutex<Arc<Opened>>,
    in_flight: AtomicUsize,
}

#[derive(Debug)]
struct Opened {
    client: Client,
    at: Instant,
}

/// One stream of a connection.
pub(super) struct Lease<'a> {
    pool: &'a Connections,
    connection: &'a Connection,
    opened: Arc<Opened>,
    _slot: Option<SemaphorePermit<'a>>,
}

impl Connections {
    /// `count` connections, made when first used, with at most `streams` requests in flight on each.
    pub(super) fn open(
        options: &HttpOptions,
        identity: Option<Identity>,
        count: usize,
        streams: usize,
    ) -> Result<Self, HttpClientError> {
        let open = || {
            let client = http2_client(options, identity.clone())?;
            let current = Mutex::new(Arc::new(Opened { client, at: Instant::now() }));
            Ok(Connection { current, in_flight: AtomicUsize::new(0) })
        };
        let all = (0..count.max(1)).map(|_| open()).collect::<Result<Vec<_>, HttpClientError>>()?;
        let slots = Semaphore::new(all.len() * streams);
        Ok(Self { all, slots, turn: AtomicUsize::new(0), options: options.clone(), identity })
    }

    /// A stream of the least busy connection; waits while all are full.
    pub(super) async fn lease(&self) -> Lease<'_> {
        // Never closed; were it, the bound would be the lane's.
        let slot = self.slots.acquire().await.ok();
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        let in_turn = (0..self.all.len()).map(|step| &self.all[(first.wrapping_add(step)) % self.all.len()]);
        let connection =
            in_turn.min_by_key(|connection| connection.in_flight.load(Ordering::Relaxed)).unwrap_or(&self.all[0]);
        connection.in_flight.fetch_add(1, Ordering::Relaxed);
        let opened = Arc::clone(&connection.current.lock().unwrap_or_else(PoisonError::into_inner));
        Lease { pool: self, connection, opened, _slot: slot }
    }
}

impl Lease<'_> {
    pub(super) fn client(&self) -> &Client {
        &self.opened.client
    }

    /// Later requests go on a new connection; those in flight on this one end there. Once, however many ask, and only when
    /// this one is at least so old.
    pub(super) fn replace(&self, least_age: Duration) {
        let mut current = self.connection.current.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&current, &self.opened) || self.opened.at.elapsed() < least_age {
            return;
        }
        match http2_client(&self.pool.options, self.pool.identity.clone()) {
            Ok(client) => *current = Arc::new(Opened { client, at: Instant::now() }),
            Err(error) => tracing::warn!(%error, "no new connection; the old one stays"),
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
        Connections::open(&options, None, count, streams).unwrap()
    }

    #[tokio::test]
    async fn streams_are_spread_evenly_and_bounded() {
        let pool = pool(2, 3);
        let mut leases = Vec::new();
        for _ in 0..6 {
            leases.push(pool.lease().await);
        }
        assert!(pool.all.iter().all(|connection| connection.in_flight.load(Ordering::Relaxed) == 3));
        assert!(tokio::time::timeout(Duration::from_millis(20), pool.lease()).await.is_err(), "all are full");
        leases.pop();
        drop(pool.lease().await);
        leases.clear();
        assert!(pool.all.iter().all(|connection| connection.in_flight.load(Ordering::Relaxed) == 0));
    }

    #[tokio::test]
    async fn a_connection_is_replaced_once() {
        let pool = pool(1, 10);
        let (one, two) = (pool.lease().await, pool.lease().await);
        one.replace(OLD);
        assert!(Arc::ptr_eq(&pool.lease().await.opened, &one.opened), "too young");
        one.replace(Duration::ZERO);
        let next = pool.lease().await;
        assert!(!Arc::ptr_eq(&next.opened, &one.opened));
        two.replace(Duration::ZERO);
        assert!(Arc::ptr_eq(&pool.lease().await.opened, &next.opened), "it was replaced already");
    }
}
