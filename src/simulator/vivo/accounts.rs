//! The apps behind the stand-in: their keys, and what of rates and daily counts is spent.

use std::collections::HashMap;

use super::answer::Refusal;
use super::world::VivoApp;
use crate::simulator::meter::{DayCount, RateMeter};

/// Auth calls an app may make in a second.
const AUTH_PER_SECOND: u32 = 10;

/// The part of the world that changes while it runs.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    lenient: bool,
    apps: HashMap<u64, Account>,
}

/// One app, known or (in a lenient world) only seen.
#[derive(Debug, Default)]
struct Account {
    app: VivoApp,
    known: bool,
    auth_rate: Option<RateMeter>,
    rate: Option<RateMeter>,
    sent: DayCount,
    lists: DayCount,
}

impl Accounts {
    pub(super) fn new(lenient: bool) -> Self {
        Self { lenient, apps: HashMap::new() }
    }

    pub(super) fn put_app(&mut self, app: VivoApp) {
        self.apps.insert(app.app_id, Account { app, known: true, ..Account::default() });
    }

    /// How many apps are known.
    pub(super) fn len(&self) -> usize {
        self.apps.values().filter(|account| account.known).count()
    }

    /// The secret to check a sign with; `None`: a lenient world that does not know the app.
    pub(super) fn secret(&self, app_id: u64, app_key: &str) -> Result<Option<String>, Refusal> {
        match self.apps.get(&app_id).filter(|account| account.known) {
            Some(account) if account.app.app_key == app_key => Ok(Some(account.app.app_secret.clone())),
            Some(_) => Err(Refusal::new(10_206, "appKey is not the app's")),
            None if self.lenient => Ok(None),
            None => Err(Refusal::new(10_204, "appId is unknown")),
        }
    }

    /// Counts an auth call.
    pub(super) fn take_auth(&mut self, app_id: u64, now_ms: i64) -> Result<(), Refusal> {
        let account = self.apps.entry(app_id).or_default();
        let rate = account.auth_rate.get_or_insert_with(|| RateMeter::new(AUTH_PER_SECOND, now_ms));
        if rate.take(AUTH_PER_SECOND, now_ms) {
            Ok(())
        } else {
            Err(Refusal::new(10_093, "more than 10 auth calls in a second"))
        }
    }

    /// An app in review sends test messages only.
    pub(super) fn check_review(&self, app_id: u64, push_mode: i64) -> Result<(), Refusal> {
        if push_mode == 0 && self.apps.get(&app_id).is_some_and(|account| account.app.in_review) {
            return Err(Refusal::new(10_045, "a formal message of an app in review"));
        }
        Ok(())
    }

    /// Whether a message may go to a device: test messages go to the app's test devices only.
    pub(super) fn may_reach(&self, app_id: u64, push_mode: i64, target: &str) -> bool {
        let account = self.apps.get(&app_id).filter(|account| account.known);
        push_mode == 0 || account.is_none_or(|account| account.app.test_devices.iter().any(|device| device == target))
    }

    /// Takes messages out of the app's bucket, and checks that the day's total is not used up.
    pub(super) fn take(&mut self, app_id: u64, messages: usize, now_ms: i64) -> Result<(), Refusal> {
        let account = self.apps.entry(app_id).or_default();
        if let Some(qps) = account.app.qps {
            let rate = account.rate.get_or_insert_with(|| RateMeter::new(qps, now_ms));
            if !rate.take_many(messages, qps, now_ms) {
                return Err(Refusal::new(10_072, "the rate is exceeded"));
            }
        }
        if account.app.daily_total.is_some_and(|total| account.sent.today(now_ms) >= total) {
            return Err(Refusal::new(10_070, "the day's total is used up"));
        }
        Ok(())
    }

    /// Counts messages that were taken.
    pub(super) fn spend(&mut self, app_id: u64, messages: usize, now_ms: i64) {
        self.apps.entry(app_id).or_default().sent.add(messages as u64, now_ms);
    }

    /// Counts a list body that is saved.
    pub(super) fn save_list(&mut self, app_id: u64, now_ms: i64) -> Result<(), Refusal> {
        let account = self.apps.entry(app_id).or_default();
        if account.app.daily_lists.is_some_and(|most| account.lists.today(now_ms) >= most) {
            return Err(Refusal::new(10_252, "the day's saved lists are used up"));
        }
        account.lists.add(1, now_ms);
        Ok(())
    }
}
