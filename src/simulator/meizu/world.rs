//! What a Meizu stand-in is told about its world: apps, and how it behaves.

use serde::Deserialize;

use crate::simulator::clock::{Now, system_clock};
use crate::simulator::fault::Latency;

/// How a stand-in starts.
#[derive(Clone)]
pub struct MeizuWorld {
    /// Any app is taken, under any signature unless the app is known, with any package and receipt address; everything
    /// else is checked as usual.
    pub lenient: bool,
    /// For load: counters in place of inboxes and calls.
    pub counters_only: bool,
    /// Added to every answer from the start.
    pub latency: Latency,
    /// The apps known from the start.
    pub apps: Vec<MeizuApp>,
    /// The clock for quotas, rates and time stamps.
    pub now: Now,
}

impl Default for MeizuWorld {
    /// Strict, empty, on the wall clock.
    fn default() -> Self {
        Self {
            lenient: false,
            counters_only: false,
            latency: Latency::default(),
            apps: Vec::new(),
            now: system_clock(),
        }
    }
}

/// One app account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeizuApp {
    /// The `appId`, decimal digits.
    pub app_id: String,
    /// The `appSecret` that signs.
    pub secret: String,
    /// The Android packages it has.
    #[serde(default)]
    pub packages: Vec<String>,
    /// Requests a second; `None`: no limit.
    #[serde(default)]
    pub qps: Option<u32>,
    /// Targets a day; `None`: no limit.
    #[serde(default)]
    pub daily_total: Option<u64>,
    /// Notifications of the public class a day and device; `None`: no limit.
    #[serde(default)]
    pub public_per_device: Option<u64>,
    /// Notifications a minute and device, beyond which they are folded; `None`: never.
    #[serde(default)]
    pub folds_per_minute: Option<u32>,
    /// The receipt addresses registered in the console.
    #[serde(default)]
    pub receipt_urls: Vec<String>,
    /// Whether it is on the vendor's black list.
    #[serde(default)]
    pub blacklisted: bool,
}

impl MeizuApp {
    /// An app without limits, packages and receipt addresses.
    pub fn new(app_id: impl Into<String>, secret: impl Into<String>) -> Self {
        Self { app_id: app_id.into(), secret: secret.into(), ..Self::default() }
    }
}
