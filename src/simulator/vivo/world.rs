//! What a vivo stand-in is told about its world: apps, and how it behaves.

use std::time::Duration;

use serde::Deserialize;

use crate::simulator::clock::{Now, system_clock};
use crate::simulator::fault::Latency;

/// How a stand-in starts.
#[derive(Clone)]
pub struct VivoWorld {
    /// Any app, key and secret is taken; everything else is checked as usual.
    pub lenient: bool,
    /// For load: counters in place of inboxes and calls.
    pub counters_only: bool,
    /// How long an access token lives.
    pub token_lifetime: Duration,
    /// How far a signed timestamp may be off this server's clock.
    pub clock_tolerance: Duration,
    /// Added to every answer from the start.
    pub latency: Latency,
    /// The apps known from the start.
    pub apps: Vec<VivoApp>,
    /// The clock for token lives, quotas, rates and sending hours.
    pub now: Now,
}

impl Default for VivoWorld {
    /// Strict, empty, on the wall clock, with the document's 24 hours and 10 minutes.
    fn default() -> Self {
        Self {
            lenient: false,
            counters_only: false,
            token_lifetime: Duration::from_hours(24),
            clock_tolerance: Duration::from_mins(10),
            latency: Latency::default(),
            apps: Vec::new(),
            now: system_clock(),
        }
    }
}

/// One app account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VivoApp {
    /// The `appId`.
    pub app_id: u64,
    /// The `appKey`.
    pub app_key: String,
    /// The `appSecret`: signed with, never sent.
    pub app_secret: String,
    /// Messages a second; `None`: no limit.
    #[serde(default)]
    pub qps: Option<u32>,
    /// Messages a day; `None`: no limit.
    #[serde(default)]
    pub daily_total: Option<u64>,
    /// Saved list bodies a day; `None`: no limit.
    #[serde(default)]
    pub daily_lists: Option<u64>,
    /// Whether the app is still in review, so that only test messages to test devices pass.
    #[serde(default)]
    pub in_review: bool,
    /// The devices that test messages may go to.
    #[serde(default)]
    pub test_devices: Vec<String>,
}

impl VivoApp {
    /// A reviewed app without limits and without test devices.
    pub fn new(app_id: u64, app_key: impl Into<String>, app_secret: impl Into<String>) -> Self {
        Self { app_id, app_key: app_key.into(), app_secret: app_secret.into(), ..Self::default() }
    }
}
