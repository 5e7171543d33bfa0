//! The accounts behind the stand-in: who may send what, and what of rates and quotas is spent.

use std::collections::HashMap;

use super::answer::Refusal;
use super::gate::BAD_SECRET;
use super::world::{ChannelClass, XiaomiApp, XiaomiChannel, XiaomiTemplate};
use crate::simulator::meter::{DayCount, RateMeter};

/// The part of the world that changes while it runs.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    lenient: bool,
    apps: HashMap<String, XiaomiApp>,
    channels: HashMap<(String, String), XiaomiChannel>,
    templates: HashMap<(String, String), XiaomiTemplate>,
    rates: HashMap<String, RateMeter>,
    spent: HashMap<Bucket, DayCount>,
}

/// What a daily quota is counted under.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Bucket {
    Class(String, ChannelClass),
    Channel(String, String),
}

/// The daily quota a message falls under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Quota {
    pub(super) bucket: Bucket,
    pub(super) limit: u64,
    pub(super) acked: u64,
}

impl Accounts {
    pub(super) fn new(lenient: bool) -> Self {
        Self { lenient, ..Self::default() }
    }

    pub(super) fn put_app(&mut self, app: XiaomiApp) {
        self.rates.remove(&app.secret);
        self.apps.insert(app.secret.clone(), app);
    }

    /// Adds a package to a secret, known or new.
    pub(super) fn add_package(&mut self, secret: &str, package: &str) {
        let new = || XiaomiApp { secret: secret.to_owned(), ..XiaomiApp::default() };
        let app = self.apps.entry(secret.to_owned()).or_insert_with(new);
        if !app.packages.iter().any(|known| known == package) {
            app.packages.push(package.to_owned());
        }
    }

    pub(super) fn put_channel(&mut self, channel: XiaomiChannel) {
        self.channels.insert((channel.package.clone(), channel.id.clone()), channel);
    }

    pub(super) fn put_template(&mut self, template: XiaomiTemplate) {
        self.templates.insert((template.package.clone(), template.id.clone()), template);
    }

    /// How many apps, channels and templates are known.
    pub(super) fn sizes(&self) -> (usize, usize, usize) {
        (self.apps.len(), self.channels.len(), self.templates.len())
    }

    pub(super) fn check_secret(&self, secret: &str) -> Result<(), Refusal> {
        if self.lenient || self.apps.contains_key(secret) { Ok(()) } else { Err(BAD_SECRET) }
    }

    /// Every package must belong to the secret.
    pub(super) fn check_packages(&self, secret: &str, packages: &[&str]) -> Result<(), Refusal> {
        let of_app = |package: &&str| {
            let app = self.apps.get(secret);
            self.lenient || app.is_some_and(|app| app.packages.iter().any(|known| known == package))
        };
        if packages.is_empty() || packages.contains(&"") {
            return Err(Refusal::new(22_022, "no package name"));
        }
        if !packages.iter().all(of_app) {
            return Err(Refusal::new(22_022, "the package name is not one of this app"));
        }
        Ok(())
    }

    /// The channel of a message. An unknown one is refused where the app needs a channel; elsewhere it counts as none.
    pub(super) fn channel(
        &self,
        secret: &str,
        package: &str,
        id: Option<&str>,
    ) -> Result<Option<XiaomiChannel>, Refusal> {
        let known = id.and_then(|id| self.channels.get(&(package.to_owned(), id.to_owned())));
        if let (None, Some(id), true) = (known, id, self.lenient) {
            let class = ChannelClass::Private;
            return Ok(Some(XiaomiChannel { package: package.into(), id: id.into(), class, daily_quota: None }));
        }
        if known.is_none() && !self.lenient && self.apps.get(secret).is_some_and(|app| app.channel_required) {
            return Err(Refusal::new(27_001, "invalid channel info!"));
        }
        Ok(known.cloned())
    }

    /// A template; `Ok(None)`: lenient, and it is not known.
    pub(super) fn template(&self, package: &str, id: &str) -> Result<Option<&XiaomiTemplate>, Refusal> {
        match self.templates.get(&(package.to_owned(), id.to_owned())) {
            None if !self.lenient => Err(Refusal::new(27_001, "unknown template")),
            known => Ok(known),
        }
    }

    /// Takes one request out of the app's bucket, which holds a second's worth.
    pub(super) fn take_rate(&mut self, secret: &str, now_ms: i64) -> Result<(), Refusal> {
        let Some(qps) = self.apps.get(secret).and_then(|app| app.qps) else { return Ok(()) };
        let rate = self.rates.entry(secret.to_owned()).or_insert_with(|| RateMeter::new(qps, now_ms));
        if rate.take(qps, now_ms) { Ok(()) } else { Err(Refusal::new(200_002, "exceed qps")) }
    }

    /// The quota a message falls under, refused when it is spent; `None`: unlimited.
    pub(super) fn quota(
        &self,
        secret: &str,
        package: &str,
        channel: Option<&XiaomiChannel>,
        now_ms: i64,
    ) -> Result<Option<Quota>, Refusal> {
        let app = self.apps.get(secret);
        let class = channel.map_or(ChannelClass::Default, |channel| channel.class);
        let of_class = match class {
            ChannelClass::Private => None,
            ChannelClass::Public => app.and_then(|app| app.public_daily_quota),
            ChannelClass::Default => app.and_then(|app| app.default_daily_quota),
        };
        let (bucket, limit) = match (channel.and_then(|channel| Some((channel, channel.daily_quota?))), of_class) {
            (Some((channel, own)), _) => (Bucket::Channel(package.to_owned(), channel.id.clone()), own),
            (None, Some(limit)) => (Bucket::Class(package.to_owned(), class), limit),
            (None, None) => return Ok(None),
        };
        let acked = self.spent.get(&bucket).map_or(0, |spent| spent.today(now_ms));
        if acked >= limit {
            let reason = format!("exceed quota, quota: {limit}, have acked: {acked}");
            return Err(Refusal { detail: Some(reason), ..Refusal::new(200_001, "the daily quota is spent") });
        }
        Ok(Some(Quota { bucket, limit, acked }))
    }

    /// Counts delivered notifications.
    pub(super) fn spend(&mut self, quota: &Quota, count: usize, now_ms: i64) {
        self.spent.entry(quota.bucket.clone()).or_default().add(count as u64, now_ms);
    }
}
