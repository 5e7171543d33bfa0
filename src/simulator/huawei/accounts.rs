//! The accounts behind the stand-in: who may push, and what of rates is spent.

use std::collections::HashMap;

use super::answer::{BUSY, Refusal};
use super::oauth::Denial;
use super::world::HuaweiApp;
use crate::simulator::meter::RateMeter;

/// How long grants of access tokens are counted together.
const GRANT_WINDOW_MS: i64 = 300_000;

/// The part of the world that changes while it runs.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    lenient: bool,
    apps: HashMap<String, HuaweiApp>,
    rates: HashMap<String, RateMeter>,
    grants: HashMap<String, Window>,
}

/// Grants since the window opened.
#[derive(Debug, Clone, Copy)]
struct Window {
    opened_ms: i64,
    count: u32,
}

impl Accounts {
    pub(super) fn new(lenient: bool) -> Self {
        Self { lenient, ..Self::default() }
    }

    pub(super) fn put_app(&mut self, app: HuaweiApp) {
        self.rates.remove(&app.client_id);
        self.grants.remove(&app.client_id);
        self.apps.insert(app.client_id.clone(), app);
    }

    /// How many apps are known.
    pub(super) fn len(&self) -> usize {
        self.apps.len()
    }

    /// Whether this client has this secret.
    pub(super) fn check_client(&self, client_id: &str, secret: &str) -> Result<(), Denial> {
        match self.apps.get(client_id) {
            None if self.lenient => Ok(()),
            None => Err(Denial::new(20_003, "the client id is unknown")),
            Some(app) if app.client_secret != secret => Err(Denial::new(12_304, "the client secret is wrong")),
            Some(_) => Ok(()),
        }
    }

    /// Counts one access token. Over the limit none is granted until the window is over.
    pub(super) fn take_grant(&mut self, client_id: &str, now_ms: i64) -> Result<(), Denial> {
        let Some(limit) = self.apps.get(client_id).and_then(|app| app.grants_per_5_min) else { return Ok(()) };
        let new = Window { opened_ms: now_ms, count: 0 };
        let window = self.grants.entry(client_id.to_owned()).or_insert(new);
        if now_ms - window.opened_ms >= GRANT_WINDOW_MS {
            *window = new;
        }
        if window.count >= limit {
            return Err(Denial::busy("too many access tokens in 5 minutes"));
        }
        window.count += 1;
        Ok(())
    }

    /// Whether the app may push at all.
    pub(super) fn check_enabled(&self, client_id: &str) -> Result<(), Refusal> {
        if self.apps.get(client_id).is_some_and(|app| app.disabled) {
            return Err(Refusal::new("80300002", "the app may not push"));
        }
        Ok(())
    }

    /// Takes these devices out of the app's bucket, which holds a second's worth.
    pub(super) fn take_rate(&mut self, client_id: &str, devices: usize, now_ms: i64) -> Result<(), Refusal> {
        let Some(qps) = self.apps.get(client_id).and_then(|app| app.qps) else { return Ok(()) };
        let rate = self.rates.entry(client_id.to_owned()).or_insert_with(|| RateMeter::new(qps, now_ms));
        if rate.take_many(devices, qps, now_ms) {
            Ok(())
        } else {
            Err(Refusal::new(BUSY, "over the app's devices a second"))
        }
    }
}
