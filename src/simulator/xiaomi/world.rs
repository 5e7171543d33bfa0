//! What a Xiaomi stand-in is told about its world: apps, channels, templates, and how it behaves.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::simulator::clock::{Now, system_clock};
use crate::simulator::fault::Latency;

/// How a stand-in starts.
#[derive(Clone)]
pub struct XiaomiWorld {
    /// The region this host serves; a token marked with another region is dead here.
    pub region: String,
    /// Any secret, package, channel and template is taken; everything else is checked as usual.
    pub lenient: bool,
    /// For load: counters in place of inboxes and calls.
    pub counters_only: bool,
    /// Whether `notify_id` must fit 0..=2147483647 (a convention: what the vendor does with others is unknown).
    pub checks_notify_id: bool,
    /// How long after the send its receipts are posted; the vendor flushes about every second. With zero a receipt can
    /// overtake the answer of its send.
    pub receipt_delay: Duration,
    /// Added to every answer from the start.
    pub latency: Latency,
    /// The apps known from the start.
    pub apps: Vec<XiaomiApp>,
    /// The channels known from the start.
    pub channels: Vec<XiaomiChannel>,
    /// The templates known from the start.
    pub templates: Vec<XiaomiTemplate>,
    /// The clock for quotas, rates and time stamps.
    pub now: Now,
}

impl Default for XiaomiWorld {
    /// Mainland, strict, empty, receipts at once, on the wall clock.
    fn default() -> Self {
        Self {
            region: "cn".into(),
            lenient: false,
            counters_only: false,
            checks_notify_id: true,
            receipt_delay: Duration::ZERO,
            latency: Latency::default(),
            apps: Vec::new(),
            channels: Vec::new(),
            templates: Vec::new(),
            now: system_clock(),
        }
    }
}

/// One app account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct XiaomiApp {
    /// The `AppSecret`.
    pub secret: String,
    /// The Android packages it may send to.
    pub packages: Vec<String>,
    /// Requests a second; `None`: no limit.
    #[serde(default)]
    pub qps: Option<u32>,
    /// Whether every message needs a known channel, as for apps in the new classification.
    #[serde(default)]
    pub channel_required: bool,
    /// Notifications a day without a channel; `None`: no limit.
    #[serde(default)]
    pub default_daily_quota: Option<u64>,
    /// Notifications a day over all public channels that have no quota of their own; `None`: no limit.
    #[serde(default)]
    pub public_daily_quota: Option<u64>,
}

impl XiaomiApp {
    /// An app with one package and no limits.
    pub fn new(secret: impl Into<String>, package: impl Into<String>) -> Self {
        Self { secret: secret.into(), packages: vec![package.into()], ..Self::default() }
    }
}

/// The class of a channel (document, section 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChannelClass {
    /// Reviewed: instant messages and the like.
    Private,
    /// Operational messages.
    Public,
    /// No channel.
    Default,
}

/// One channel of the console.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct XiaomiChannel {
    /// The package it belongs to.
    pub package: String,
    /// `extra.channel_id`.
    pub id: String,
    /// Its class.
    pub class: ChannelClass,
    /// Its own notifications a day; `None`: the class's quota of the app.
    #[serde(default)]
    pub daily_quota: Option<u64>,
}

/// One message template of a package.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct XiaomiTemplate {
    /// The package it belongs to.
    pub package: String,
    /// `extra.template_id`.
    pub id: String,
    /// The private channel it is bound to.
    pub channel_id: String,
    /// The names of its variables.
    pub variables: Vec<String>,
}
