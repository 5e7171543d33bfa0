//! The vendor seam: one trait, one adapter per push service.
//!
//! An adapter turns a push into requests and answers into outcomes. It never touches the database, sleeps, retries or
//! counts.

mod access_token;
pub mod account;
pub mod apns;
mod call;
pub mod fit;
pub mod http;
pub mod http2;
pub mod huawei;
mod lenient;
pub mod meizu;
pub mod oppo;
pub mod outcome;
pub mod preview;
pub mod quota;
pub mod registry;
pub mod shared;
pub mod template;
#[cfg(test)]
mod testing;
pub mod tls;
pub mod vivo;
pub mod xiaomi;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio::sync::Semaphore;

use crate::domain::certificate::VendorKind;
use crate::domain::id::DeliveryId;
use crate::domain::notification::SharedNotification;
use fit::{Cut, TextLimit};
use outcome::Outcome;
use preview::RenderedRequest;
pub use quota::QuotaReset;

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
    /// To be asked before every request, where a push may need several or wait before the first.
    pub clearance: Clearance,
}

/// Whether another request may start for a push: its devices were judged a moment ago, none of them lost its right since, its
/// time is not over, it was not cancelled, and this server still owns it.
#[derive(Clone)]
pub struct Clearance(Option<Arc<dyn Fn() -> bool + Send + Sync>>);

impl Clearance {
    /// Asked at each request.
    pub fn new(holds: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(holds)))
    }

    /// For a push that is made of one request.
    pub const fn given() -> Self {
        Self(None)
    }

    /// Whether it may start.
    pub fn holds(&self) -> bool {
        self.0.as_ref().is_none_or(|holds| holds())
    }
}

impl std::fmt::Debug for Clearance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clearance")
    }
}

impl Push {
    /// Texts as they are.
    pub fn of(
        notification: &SharedNotification,
        badge: Option<i32>,
        expires_at: DateTime<Utc>,
        time_to_live: Duration,
        clearance: Clearance,
    ) -> Self {
        let content = &notification.content;
        let info = content.offline_push_info.as_ref();
        let own = |text: Option<&str>| text.filter(|text| !text.trim().is_empty()).map(str::to_owned);
        let full_title = own(info.and_then(|info| info.title.as_deref())).unwrap_or_else(|| content.title.clone());
        let full_body = own(info.and_then(|info| info.desc.as_deref())).unwrap_or_else(|| content.body.clone());
        Self {
            notification: Arc::clone(notification),
            title: full_title.clone(),
            body: full_body.clone(),
            full_title,
            full_body,
            cuts: Vec::new(),
            badge,
            time_to_live,
            expires_at,
            clearance,
        }
    }

    /// Cuts the title to a limit, told in `cuts`.
    pub fn cut_title(&mut self, limit: TextLimit) {
        cut("title", &mut self.title, limit, &mut self.cuts);
    }

    /// Leaves the app's own data out, for vendors that have no room for it; told in `cuts`.
    pub fn drop_data(&mut self) {
        if !self.is_data_dropped() {
            let from = serde_json::Value::Object(self.notification.app_data()).to_string().len();
            self.cuts.push(Cut { field: "data", from, to: 0 });
        }
    }

    /// Whether the app's own data is left out.
    pub fn is_data_dropped(&self) -> bool {
        self.cuts.iter().any(|cut| cut.field == "data")
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
    /// The most targets of one call, see [`Vendor::batch`].
    pub batch: usize,
    /// As [`Vendor::fit`] cuts them.
    pub title: TextLimit,
    pub body: TextLimit,
    /// A second, of the lowest tier.
    pub rate: u32,
    pub rate_unit: RateUnit,
    pub quota_reset: QuotaReset,
    /// Whether a badge number is sent: deliveries with different badges then go in different calls.
    pub uses_badge: bool,
}

/// What a vendor's rate limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateUnit {
    Calls,
    /// A call with 1,000 devices costs 1,000.
    Devices,
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

    /// The most targets of one call for a push that has this long to live.
    fn batch(&self, _time_to_live: Duration) -> usize {
        self.limits().batch
    }

    /// Whether [`Vendor::send`] may make several requests, one after the other, or wait for an access token: then it asks
    /// [`Push::clearance`] before each.
    fn takes_steps(&self) -> bool {
        false
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

    /// The requests that [`Vendor::send`] would make now for the same push and targets, in their order, secrets and device
    /// tokens masked. Makes none, and asks for no access token. Empty where `send` would end without a request.
    fn preview(&self, push: &Push, targets: &[Target]) -> Vec<RenderedRequest>;
}
