//! How an attempt ends, and the one table that decides what follows.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::quota::QuotaReset;

/// Why an attempt ended. The names are stored and shown: never rename one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The vendor took it. That the phone showed it is a receipt, not this.
    Accepted,
    /// The token is dead, the document says so.
    TokenGone,
    /// The token looks wrong: dead, or of another environment or region.
    TokenMalformed,
    /// The user switched notifications off.
    Muted,
    /// This device's or this user's count is spent.
    RecipientLimited,
    /// This message can never succeed.
    PayloadRefused,
    /// The credential or the app's configuration is wrong.
    CertificateRefused,
    /// The daily quota of this message class is spent.
    QuotaSpent,
    /// Too many calls a second.
    RateLimited,
    /// The vendor failed.
    VendorFault,
    /// No connection, or it broke.
    Unreachable,
    /// No answer in time: the outcome at the vendor is unknown.
    TimedOut,
    /// An answer no document names.
    Unrecognised,
}

/// What the dispatcher does next. Adapters never choose it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    Finish,
    Retry,
    RetryTwice,
    GiveUp,
    Unbind,
    Mute,
    HoldClass,
    PauseCertificate,
}

impl Reason {
    /// All of them, for metrics and tables.
    pub const ALL: [Self; 13] = [
        Self::Accepted,
        Self::TokenGone,
        Self::TokenMalformed,
        Self::Muted,
        Self::RecipientLimited,
        Self::PayloadRefused,
        Self::CertificateRefused,
        Self::QuotaSpent,
        Self::RateLimited,
        Self::VendorFault,
        Self::Unreachable,
        Self::TimedOut,
        Self::Unrecognised,
    ];

    /// The name in the trace and the metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::TokenGone => "token_gone",
            Self::TokenMalformed => "token_malformed",
            Self::Muted => "muted",
            Self::RecipientLimited => "recipient_limited",
            Self::PayloadRefused => "payload_refused",
            Self::CertificateRefused => "certificate_refused",
            Self::QuotaSpent => "quota_spent",
            Self::RateLimited => "rate_limited",
            Self::VendorFault => "vendor_fault",
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timed_out",
            Self::Unrecognised => "unrecognised",
        }
    }

    /// The one table that decides retries, for all vendors. No `_` arm: a new reason must take a side.
    pub const fn disposition(self) -> Disposition {
        match self {
            Self::Accepted => Disposition::Finish,
            Self::TokenGone | Self::TokenMalformed => Disposition::Unbind, // behind the prune breaker
            Self::Muted => Disposition::Mute,
            Self::RateLimited | Self::VendorFault | Self::Unreachable | Self::TimedOut => Disposition::Retry,
            Self::CertificateRefused => Disposition::PauseCertificate,
            Self::QuotaSpent => Disposition::HoldClass, // until the vendor's reset time, that message class only
            Self::RecipientLimited | Self::PayloadRefused => Disposition::GiveUp,
            Self::Unrecognised => Disposition::RetryTwice,
        }
    }

    /// The vendor itself is in trouble: what the circuit breaker counts.
    pub const fn is_outage(self) -> bool {
        matches!(self, Self::VendorFault | Self::Unreachable | Self::TimedOut)
    }
}

/// How far an attempt came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The vendor was asked to push.
    Asked,
    /// It was not: no access token could be had. A time to live of one attempt is not used up by it.
    Unasked,
    /// It was not, and no attempt is recorded: the delivery is judged and sent anew at once.
    PutBack,
    /// It was, and refused the whole call for one bad target without saying which; nothing was sent. A call with several
    /// targets is divided, its halves judged and sent anew.
    RefusedForOne,
}

/// One attempt's ending for one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub reason: Reason,
    /// The vendor's own code, verbatim, for the operator.
    pub vendor_code: Option<String>,
    /// Receipts arrive under it.
    pub vendor_message_id: Option<String>,
    /// How long the vendor asked us to wait.
    pub retry_after: Option<Duration>,
    /// The answer hints at a wrong configuration: several in a row pause the certificate.
    pub is_suspect: bool,
    /// A suspect answer that options of the message itself may have caused: then it says nothing of the certificate.
    pub blames_options: bool,
    pub progress: Progress,
    /// When a spent quota is full again, where it is not the vendor's usual time.
    pub quota_reset: Option<QuotaReset>,
    /// `rate_limited` for this target alone: its delivery waits, the lane keeps its pace.
    pub spares_lane: bool,
    /// Since when the vendor knows that the token is dead, where it says so: a binding reported later stays.
    pub gone_since: Option<DateTime<Utc>>,
}

impl Outcome {
    /// Whether the call it ended was refused for one of its targets, nobody knows which.
    pub fn is_for_one(&self) -> bool {
        self.progress == Progress::RefusedForOne
    }

    /// An outcome with nothing but its reason.
    pub const fn new(reason: Reason) -> Self {
        Self {
            reason,
            vendor_code: None,
            vendor_message_id: None,
            retry_after: None,
            is_suspect: false,
            blames_options: false,
            progress: Progress::Asked,
            quota_reset: None,
            spares_lane: false,
            gone_since: None,
        }
    }

    /// Nothing was sent: the devices must be judged again, or the call be made in another way. The reason counts only when
    /// this happens again and again.
    pub fn put_back() -> Self {
        let outcome = Self::new(Reason::RateLimited).with_code("not sent: put back several times");
        Self { spares_lane: true, progress: Progress::PutBack, ..outcome }
    }

    /// The same with the vendor's code, cut to a sane length.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<String>) -> Self {
        let code: String = code.into();
        self.vendor_code = Some(code.chars().take(MAX_CODE_CHARS).collect());
        self
    }

    /// The same ending for each of `count` targets.
    pub fn for_each(&self, count: usize) -> Vec<Self> {
        vec![self.clone(); count]
    }
}

/// A vendor's odd answer stays visible, but not at any length.
const MAX_CODE_CHARS: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_equal_the_serialised_form() {
        for reason in Reason::ALL {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
        }
    }
}
