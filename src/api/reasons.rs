//! The closed list of reasons, in words.

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;

use super::Caller;
use crate::domain::skip::{CancelReason, ExpiryReason, RescueReason, SkipReason, WaitReason, Words};

/// A reason in words.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ReasonView {
    /// As in `skipped`, in the trace and in metrics.
    #[schema(example = "logged_out")]
    pub reason: &'static str,
    #[schema(inline)]
    pub kind: ReasonKind,
    /// What it means.
    pub text: Translated,
    /// What would change it.
    pub fix: Translated,
}

/// Where a reason occurs.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum ReasonKind {
    /// A device or user gets no push; also why a delivery that waited was cancelled, when it came true meanwhile.
    Skip,
    /// Only a delivery that waited is cancelled for it.
    Cancel,
    /// A delivery is made, but waits; in the trace as `postponed`.
    Wait,
    /// A delivery was made after all; in the trace as `rescued`.
    Rescue,
    /// A delivery ended by itself; in the trace as `expired`.
    Expiry,
}

/// One sentence in each language.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub(super) struct Translated {
    pub en: &'static str,
    pub zh: &'static str,
}

/// What a reason means, and what would change it.
pub(super) const fn in_words(words: Words) -> (Translated, Translated) {
    (Translated { en: words.en, zh: words.zh }, Translated { en: words.fix_en, zh: words.fix_zh })
}

impl ReasonView {
    fn new(reason: &'static str, kind: ReasonKind, words: Words) -> Self {
        let (text, fix) = in_words(words);
        Self { reason, kind, text, fix }
    }
}

impl From<SkipReason> for ReasonView {
    fn from(reason: SkipReason) -> Self {
        Self::new(reason.as_str(), ReasonKind::Skip, reason.words())
    }
}

impl From<CancelReason> for ReasonView {
    fn from(reason: CancelReason) -> Self {
        Self::new(reason.as_str(), ReasonKind::Cancel, reason.words())
    }
}

impl From<WaitReason> for ReasonView {
    fn from(reason: WaitReason) -> Self {
        Self::new(reason.as_str(), ReasonKind::Wait, reason.words())
    }
}

impl From<RescueReason> for ReasonView {
    fn from(reason: RescueReason) -> Self {
        Self::new(reason.as_str(), ReasonKind::Rescue, reason.words())
    }
}

impl From<ExpiryReason> for ReasonView {
    fn from(reason: ExpiryReason) -> Self {
        Self::new(reason.as_str(), ReasonKind::Expiry, reason.words())
    }
}

/// Every reason there is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Reasons {
    pub items: Vec<ReasonView>,
}

/// Every reason why a device gets no push, or gets it later, in English and Chinese, with what would change it: all that the
/// trace gives with `skipped`, `cancelled`, `postponed`, `rescued` and `expired`.
#[utoipa::path(get, path = "/v1/skip-reasons", tag = "chat server", responses((status = 200, body = Reasons)))]
pub(super) async fn list(_caller: Caller) -> Json<Reasons> {
    let skips = SkipReason::ALL.iter().map(|reason| ReasonView::from(*reason));
    let cancels = CancelReason::ALL.iter().map(|reason| ReasonView::from(*reason));
    let waits = WaitReason::ALL.iter().map(|reason| ReasonView::from(*reason));
    let rescues = RescueReason::ALL.iter().map(|reason| ReasonView::from(*reason));
    let expiries = ExpiryReason::ALL.iter().map(|reason| ReasonView::from(*reason));
    Json(Reasons { items: skips.chain(cancels).chain(waits).chain(rescues).chain(expiries).collect() })
}
