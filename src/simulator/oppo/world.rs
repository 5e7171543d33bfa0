//! What an OPPO stand-in is told about its world: apps, and how it behaves.

use std::time::Duration;

use serde::Deserialize;

use crate::simulator::clock::{Now, system_clock};
use crate::simulator::fault::Latency;

/// How a stand-in starts.
#[derive(Clone)]
pub struct OppoWorld {
    /// The region this host serves, `cn` or any other name for overseas; ids of the other one are refused.
    pub region: String,
    /// Any app key and secret is taken; everything else is checked as usual.
    pub lenient: bool,
    /// For load: counters in place of inboxes and calls.
    pub counters_only: bool,
    /// How long an access token lives.
    pub token_lifetime: Duration,
    /// How far a signed timestamp may be off this server's clock.
    pub clock_tolerance: Duration,
    /// The longest content of the standard style, in characters: 50, in older texts 200.
    pub content_limit: usize,
    /// Added to every answer from the start.
    pub latency: Latency,
    /// The apps known from the start.
    pub apps: Vec<OppoApp>,
    /// The clock for token lives, quotas and rates.
    pub now: Now,
}

impl Default for OppoWorld {
    /// Mainland, strict, empty, on the wall clock, with the document's 24 hours, 10 minutes and 50 characters.
    fn default() -> Self {
        Self {
            region: "cn".into(),
            lenient: false,
            counters_only: false,
            token_lifetime: Duration::from_hours(24),
            clock_tolerance: Duration::from_mins(10),
            content_limit: 50,
            latency: Latency::default(),
            apps: Vec::new(),
            now: system_clock(),
        }
    }
}

/// One app account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OppoApp {
    /// The `AppKey`.
    pub app_key: String,
    /// The `MasterSecret`: signed with, never sent.
    pub master_secret: String,
    /// Whether messages of category `IM` need a template.
    #[serde(default)]
    pub template_required: bool,
    /// Messages a second; `None`: no limit.
    #[serde(default)]
    pub qps: Option<u32>,
    /// Messages a day; `None`: no limit.
    #[serde(default)]
    pub daily_total: Option<u64>,
}

impl OppoApp {
    /// An app without limits that needs no template.
    pub fn new(app_key: impl Into<String>, master_secret: impl Into<String>) -> Self {
        Self { app_key: app_key.into(), master_secret: master_secret.into(), ..Self::default() }
    }
}
