//! The apps behind the stand-in: their secrets, and what of rates and daily counts is spent.

use std::collections::HashMap;

use super::answer::Refusal;
use super::world::OppoApp;
use crate::simulator::meter::{DayCount, RateMeter};

/// The part of the world that changes while it runs.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    lenient: bool,
    apps: HashMap<String, Account>,
}

#[derive(Debug, Default)]
struct Account {
    app: OppoApp,
    rate: Option<RateMeter>,
    sent: DayCount,
}

impl Accounts {
    pub(super) fn new(lenient: bool) -> Self {
        Self { lenient, apps: HashMap::new() }
    }

    pub(super) fn put_app(&mut self, app: OppoApp) {
        self.apps.insert(app.app_key.clone(), Account { app, ..Account::default() });
    }

    /// How many apps are known.
    pub(super) fn len(&self) -> usize {
        self.apps.len()
    }

    /// The secret to check a sign with; `None`: a lenient world that does not know the app.
    pub(super) fn secret(&self, app_key: &str) -> Result<Option<String>, Refusal> {
        match self.apps.get(app_key) {
            Some(account) => Ok(Some(account.app.master_secret.clone())),
            None if self.lenient => Ok(None),
            None => Err(Refusal::new(14, "app_key is unknown")),
        }
    }

    /// Whether chat messages of this app need a template.
    pub(super) fn needs_template(&self, app_key: &str) -> bool {
        self.apps.get(app_key).is_some_and(|account| account.app.template_required)
    }

    /// Takes messages out of the app's bucket, and checks that the day's total is not used up.
    pub(super) fn take(&mut self, app_key: &str, messages: usize, now_ms: i64) -> Result<(), Refusal> {
        let Some(account) = self.apps.get_mut(app_key) else { return Ok(()) };
        if let Some(qps) = account.app.qps {
            let rate = account.rate.get_or_insert_with(|| RateMeter::new(qps, now_ms));
            if !rate.take_many(messages, qps, now_ms) {
                return Err(Refusal::new(55, "the rate is exceeded"));
            }
        }
        if account.app.daily_total.is_some_and(|total| account.sent.today(now_ms) >= total) {
            return Err(Refusal::new(33, "the day's total is used up"));
        }
        Ok(())
    }

    /// Counts messages that were taken.
    pub(super) fn spend(&mut self, app_key: &str, messages: usize, now_ms: i64) {
        if let Some(account) = self.apps.get_mut(app_key) {
            account.sent.add(messages as u64, now_ms);
        }
    }
}
