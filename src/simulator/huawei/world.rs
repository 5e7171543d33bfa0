//! What a Huawei stand-in is told about its world: apps, and how it behaves.

use std::time::Duration;

use serde::Deserialize;

use crate::simulator::clock::{Now, system_clock};
use crate::simulator::fault::Latency;

/// Access tokens per app and five minutes (document, A2).
const GRANTS_PER_5_MIN: u32 = 1_000;

/// How a stand-in starts.
#[derive(Clone)]
pub struct HuaweiWorld {
    /// Any client is granted access tokens, under any secret unless the app is known; everything else is checked as usual.
    pub lenient: bool,
    /// For load: counters in place of inboxes and calls.
    pub counters_only: bool,
    /// How long an access token lives, as its answer says in `expires_in`.
    pub token_lifetime: Duration,
    /// The HTTP status of a refusal.
    pub business_status: HuaweiStatus,
    /// Added to every answer from the start.
    pub latency: Latency,
    /// The apps known from the start.
    pub apps: Vec<HuaweiApp>,
    /// The clock for rates, token lives and time stamps.
    pub now: Now,
}

impl Default for HuaweiWorld {
    /// Strict, empty, access tokens for an hour, on the wall clock.
    fn default() -> Self {
        Self {
            lenient: false,
            counters_only: false,
            token_lifetime: Duration::from_hours(1),
            business_status: HuaweiStatus::default(),
            latency: Latency::default(),
            apps: Vec::new(),
            now: system_clock(),
        }
    }
}

/// The HTTP status that a refused send has beside its code. The vendor does not publish it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HuaweiStatus {
    /// 401 for a refused credential, 500 for an internal error, 400 for the rest; 200 when only tokens are bad.
    #[default]
    Http,
    /// 200 whatever the code says.
    Always200,
}

/// One app account.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HuaweiApp {
    /// The OAuth client id, also in the path of a send.
    pub client_id: String,
    /// The OAuth client secret.
    pub client_secret: String,
    /// Devices a second; `None`: no limit.
    #[serde(default)]
    pub qps: Option<u32>,
    /// Whether the push service is switched off for it.
    #[serde(default)]
    pub disabled: bool,
    /// Access tokens granted in five minutes; `None`: no limit.
    #[serde(default = "grants_per_5_min")]
    pub grants_per_5_min: Option<u32>,
}

#[expect(clippy::unnecessary_wraps, reason = "serde wants the field's type")]
const fn grants_per_5_min() -> Option<u32> {
    Some(GRANTS_PER_5_MIN)
}

impl HuaweiApp {
    /// An app that may push, with the documented limit of access tokens and no other.
    pub fn new(client_id: impl Into<String>, client_secret: impl Into<String>) -> Self {
        Self {
            client_id: client_id.into(),
            client_secret: client_secret.into(),
            qps: None,
            disabled: false,
            grants_per_5_min: grants_per_5_min(),
        }
    }
}
