//! The vendor seam: one trait, one adapter per push service.
//!
//! An adapter turns a push into requests and answers into outcomes. It never touches the database, sleeps, retries or
//! counts.

pub mod apns;
pub mod fit;
pub mod http;
pub mod outcome;
pub mod registry;
pub mod shared;
pub mod xiaomi;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::Semaphore;

use crate::domain::certificate::VendorKind;
use crate::domain::id::DeliveryId;
use crate::domain::notification::SharedNotification;
use fit::{Cut, TextLimit};
use outcome::Outcome;

/// What one call asks to show, its texts cut to the vendor's limits by [`Vendor::fit`].
#[derive(Debug, Clone)]
pub struct Push {
    pub notification: SharedNotification,
    pub title: String,
    pub body: String,
    /// The same uncut, for vendors whose templates have limits of their own.
    pub full_title: String,
    pub full_body: String,
    /// What was cut from the texts, for the trace.
    pub cuts: Vec<Cut>,
    pub badge: Option<i32>,
    /// The time to live that is left; zero means one attempt by the vendor.
    pub time_to_live: Duration,
    /// When it ends: the same at every attempt.
    pub expires_at: DateTime<Utc>,
}

impl Push {
    /// Cuts the title to a limit, told in `cuts`.
    pub fn cut_title(&mut self, limit: TextLimit) {
        cut("title", &mut self.title, limit, &mut self.cuts);
    }

    /// The same for the body.
    pub fn cut_body(&mut self, limit: TextLimit) {
        cut("body", &mut self.body, limit, &mut self.cuts);
    }
}

fn cut(field: &'static str, text: &mut String, limit: TextLimit, cuts: &mut Vec<Cut>) {
    let (shortened, told) = fit::fit(field, text, limit);
    if let Some(told) = told {
        *text = shortened.into_owned();
        cuts.retain(|cut| cut.field != field);
        cuts.push(told);
    }
}

/// One device of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub delivery_id: DeliveryId,
    pub token: String,
}

/// What a vendor's document bounds.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The most targets of one call.
    pub batch: usize,
    /// As [`Vendor::fit`] cuts them.
    pub title: TextLimit,
    pub body: TextLimit,
    /// Calls a second of the lowest tier.
    pub calls_per_second: u32,
    pub quota_reset: QuotaReset,
    /// Whether a badge number is sent: deliveries with different badges then go in different calls.
    pub uses_badge: bool,
}

/// When a spent daily quota is full again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuotaReset {
    /// Midnight in China (UTC+8).
    ChinaMidnight,
    /// The vendor has no daily quota: should it ever answer so, it is asked again after a few minutes.
    None,
}

impl QuotaReset {
    /// When to try again: a minute after the next reset. The hour is not documented for certain, so a quota that is still
    /// spent shortly after the reset is asked for every few minutes, and not held for another day.
    pub fn next(self, now: DateTime<Utc>) -> DateTime<Utc> {
        const LATE_RESET: TimeDelta = TimeDelta::minutes(30);
        const ASK_AGAIN: TimeDelta = TimeDelta::minutes(5);
        const MARGIN: TimeDelta = TimeDelta::minutes(1);
        let reset = match self {
            Self::ChinaMidnight => {
                const CHINA: TimeDelta = TimeDelta::hours(8);
                (now + CHINA).date_naive().and_time(chrono::NaiveTime::MIN).and_utc() - CHINA
            }
            Self::None => return now + ASK_AGAIN,
        };
        if now < reset + LATE_RESET { now + ASK_AGAIN } else { reset + TimeDelta::days(1) + MARGIN }
    }
}

/// One vendor account (one certificate), ready to send.
#[async_trait]
pub trait Vendor: Send + Sync + 'static {
    /// Which push service it is.
    fn kind(&self) -> VendorKind;

    /// Batch size, text counting, rates.
    fn limits(&self) -> Limits;

    /// Where several certificates share what bounds their calls (the streams of one credential's connections), instead of
    /// `dispatch.calls_in_flight`: one permit for each call, taken before the devices are judged, so that no call waits after it.
    fn slots(&self) -> Option<Arc<Semaphore>> {
        None
    }

    /// The class whose daily quota this message counts against, as a short stable name.
    fn message_class(&self, notification: &crate::domain::notification::Notification) -> String;

    /// Cuts the texts to what the vendor takes, and says so in `push.cuts`. Called once, before [`Vendor::send`].
    fn fit(&self, push: &mut Push) {
        let limits = self.limits();
        push.cut_title(limits.title);
        push.cut_body(limits.body);
    }

    /// Makes one attempt for 1..=`limits().batch` targets: one outcome per target, in their order. Every ending, a
    /// broken connection too, is an [`Outcome`]: there is no `Err`.
    async fn send(&self, push: &Push, targets: &[Target]) -> Vec<Outcome>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_full_again_at_midnight_in_china() {
        let at = |text: &str| DateTime::parse_from_rfc3339(text).unwrap().to_utc();
        let next = |text| QuotaReset::ChinaMidnight.next(at(text));
        assert_eq!(next("2026-11-24T15:59:59Z"), at("2026-11-24T16:01:00Z"));
        assert_eq!(next("2026-11-24T16:29:59Z"), at("2026-11-24T16:34:59Z"), "the reset may come late");
        assert_eq!(next("2026-11-24T16:30:00Z"), at("2026-11-25T16:01:00Z"));
    }
}
