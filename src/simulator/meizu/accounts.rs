//! The accounts behind the stand-in: who may push, and what of rates and quotas is spent, by app and by device.

use std::collections::{HashMap, VecDeque};

use super::answer::Refusal;
use super::sign;
use super::world::MeizuApp;
use crate::simulator::form::Form;
use crate::simulator::meter::{DayCount, RateMeter};

const MINUTE_MS: i64 = 60_000;

/// An app and one of its devices.
type Device = (String, String);

/// The part of the world that changes while it runs.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    lenient: bool,
    apps: HashMap<String, MeizuApp>,
    rates: HashMap<String, RateMeter>,
    totals: HashMap<String, DayCount>,
    public: HashMap<Device, DayCount>,
    /// When a device was sent to in the last minute.
    recent: HashMap<Device, VecDeque<i64>>,
}

impl Accounts {
    pub(super) fn new(lenient: bool) -> Self {
        Self { lenient, ..Self::default() }
    }

    pub(super) fn put_app(&mut self, app: MeizuApp) {
        self.rates.remove(&app.app_id);
        self.apps.insert(app.app_id.clone(), app);
    }

    /// How many apps are known.
    pub(super) fn len(&self) -> usize {
        self.apps.len()
    }

    /// The names a device token's app can have been given: the app id and its packages.
    pub(super) fn names<'a>(&'a self, app_id: &'a str) -> Vec<&'a str> {
        let packages = self.apps.get(app_id).map_or(&[][..], |app| &app.packages);
        std::iter::once(app_id).chain(packages.iter().map(String::as_str)).collect()
    }

    /// Whether the app is known, signed with its secret, and may push.
    pub(super) fn check_app(&self, app_id: &str, form: &Form) -> Result<(), Refusal> {
        let Some(app) = self.apps.get(app_id) else {
            return if self.lenient { Ok(()) } else { Err(Refusal::new("110000", "the appId is unknown")) };
        };
        if form.get(sign::FIELD) != Some(&sign::of(form.pairs(), &app.secret)) {
            return Err(Refusal::new("1006", "the signature is wrong"));
        }
        if app.blacklisted {
            return Err(Refusal::new("110009", "the app is on the black list"));
        }
        Ok(())
    }

    /// Receipts go to addresses of the console only.
    pub(super) fn check_callback(&self, app_id: &str, url: &str) -> Result<(), Refusal> {
        let app = self.apps.get(app_id);
        if self.lenient || app.is_some_and(|app| app.receipt_urls.iter().any(|known| known == url)) {
            return Ok(());
        }
        Err(Refusal::new("1005", "extra.callback is not registered"))
    }

    /// Every package must be one of the app's.
    pub(super) fn check_packages(&self, app_id: &str, packages: &[&str]) -> Result<(), Refusal> {
        let app = self.apps.get(app_id);
        let is_own = |package: &&str| app.is_some_and(|app| app.packages.iter().any(|known| known == package));
        if self.lenient || packages.iter().all(is_own) {
            return Ok(());
        }
        Err(Refusal::new("110031", "the package name is not one of this app"))
    }

    /// Takes one request out of the app's bucket, which holds a second's worth.
    pub(super) fn take_rate(&mut self, app_id: &str, now_ms: i64) -> Result<(), Refusal> {
        let Some(qps) = self.apps.get(app_id).and_then(|app| app.qps) else { return Ok(()) };
        let rate = self.rates.entry(app_id.to_owned()).or_insert_with(|| RateMeter::new(qps, now_ms));
        if rate.take(qps, now_ms) { Ok(()) } else { Err(Refusal::new("110010", "over the app's requests a second")) }
    }

    /// Whether the app may send anything more today.
    pub(super) fn check_total(&self, app_id: &str, now_ms: i64) -> Result<(), Refusal> {
        let Some(limit) = self.apps.get(app_id).and_then(|app| app.daily_total) else { return Ok(()) };
        if self.totals.get(app_id).is_some_and(|count| count.today(now_ms) >= limit) || limit == 0 {
            return Err(Refusal::new("110019", "the app's total of the day is spent"));
        }
        Ok(())
    }

    /// Counts accepted targets.
    pub(super) fn spend(&mut self, app_id: &str, targets: usize, now_ms: i64) {
        if self.apps.get(app_id).is_some_and(|app| app.daily_total.is_some()) {
            self.totals.entry(app_id.to_owned()).or_default().add(targets as u64, now_ms);
        }
    }

    /// Counts one notification for a device, or says by which code it is not shown there.
    pub(super) fn take_device(
        &mut self,
        app_id: &str,
        token: &str,
        is_public: bool,
        now_ms: i64,
    ) -> Result<(), &'static str> {
        let Some(app) = self.apps.get(app_id) else { return Ok(()) };
        let public = app.public_per_device.filter(|_| is_public);
        let device = || (app_id.to_owned(), token.to_owned());
        if let Some(limit) = public
            && self.public.entry(device()).or_default().today(now_ms) >= limit
        {
            return Err("110011");
        }
        if let Some(limit) = app.folds_per_minute {
            let recent = self.recent.entry(device()).or_default();
            recent.retain(|at_ms| now_ms - at_ms < MINUTE_MS);
            if recent.len() >= limit as usize {
                return Err("520");
            }
            recent.push_back(now_ms);
        }
        if public.is_some() {
            self.public.entry(device()).or_default().add(1, now_ms);
        }
        Ok(())
    }
}
