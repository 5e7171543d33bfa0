//! What the calls of several adapters have in common.

use std::sync::Arc;

use super::access_token::AccessToken;
use super::http::{Failure, Reply};
use super::outcome::{Outcome, Progress, Reason};
use super::{Push, Target};

/// What a call came to: one outcome per target, in their order.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answered {
    pub outcomes: Vec<Outcome>,
    pub token: Verdict,
}

/// What an answer says of the access token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Fine,
    /// It was refused, and nothing was sent: with another token the same call may work.
    Refused,
    /// It may be at fault: the next attempt takes another one.
    Doubtful,
}

impl Answered {
    /// The same ending for each target.
    pub(super) fn all(outcome: &Outcome, targets: &[Target]) -> Self {
        Self { outcomes: outcome.for_each(targets.len()), token: Verdict::Fine }
    }

    /// Each its own.
    pub(super) fn each(outcomes: Vec<Outcome>) -> Self {
        Self { outcomes, token: Verdict::Fine }
    }

    /// With what it says of the access token.
    pub(super) fn with(self, token: Verdict) -> Self {
        Self { token, ..self }
    }
}

/// An answer judged, or the failure to get one.
pub(super) fn judged(
    fetched: Result<Reply, Failure>,
    targets: &[Target],
    classify: impl FnOnce(&Reply, &[Target]) -> Answered,
) -> Answered {
    match fetched {
        Ok(reply) => classify(&reply, targets),
        Err(failure) => Answered::all(&failure.outcome, targets),
    }
}

/// An outcome by the HTTP status alone, where the body says nothing: the same for all vendors but for `special`.
pub(super) fn by_status(reply: &Reply, special: &[(u16, Reason)]) -> Outcome {
    let status = reply.status.as_u16();
    let usual = match status {
        401 | 403 => Reason::CertificateRefused,
        429 => Reason::RateLimited,
        400..=499 => Reason::PayloadRefused,
        500..=599 => Reason::VendorFault,
        _ => Reason::Unrecognised,
    };
    let reason = special.iter().find(|(code, _)| *code == status).map_or(usual, |(_, reason)| *reason);
    let mut outcome = Outcome::new(reason).with_code(format!("HTTP {status}"));
    outcome.retry_after = reply.retry_after();
    // Path and form are the same for every message: a 4xx is about us, not about this message alone.
    outcome.is_suspect = reason == Reason::PayloadRefused;
    outcome
}

/// Makes a call with the access token; once more with another one, when the vendor refused the token. What has to wait for a
/// token so long that its devices must be judged again is not sent.
pub(super) async fn with_token<F, Answer>(
    token: &Arc<AccessToken>,
    push: &Push,
    targets: &[Target],
    call: F,
) -> Vec<Outcome>
where
    F: Fn(Arc<str>) -> Answer,
    Answer: Future<Output = Answered>,
{
    let all = |outcome: &Outcome| outcome.for_each(targets.len());
    let used = match token.current().await {
        Ok(used) => used,
        Err(outcome) => return all(&outcome),
    };
    if !push.clearance.holds() {
        return all(&Outcome::put_back());
    }
    let answered = call(Arc::clone(&used)).await;
    match answered.token {
        Verdict::Fine => {
            if has_answer(&answered.outcomes) {
                token.worked(&used);
            }
            return answered.outcomes;
        }
        Verdict::Doubtful => {
            token.forget(&used);
            return answered.outcomes;
        }
        Verdict::Refused => token.refused(&used),
    };
    let another = match token.replace(&used).await {
        Err(outcome) => return all(&outcome),
        Ok(None) => return answered.outcomes,
        Ok(Some(another)) => another,
    };
    if !push.clearance.holds() {
        return all(&Outcome::put_back());
    }
    let answered = call(Arc::clone(&another)).await;
    match answered.token {
        Verdict::Refused if !token.refused(&another) => answered.outcomes.into_iter().map(in_doubt).collect(),
        Verdict::Refused => answered.outcomes,
        Verdict::Fine | Verdict::Doubtful => {
            if has_answer(&answered.outcomes) {
                token.worked(&another);
            }
            answered.outcomes
        }
    }
}

/// A call that broke says nothing of its token.
fn has_answer(outcomes: &[Outcome]) -> bool {
    outcomes.iter().any(|outcome| !outcome.reason.is_outage())
}

/// A fresh token was refused: once alone it may have been ended by another server's, so the delivery is tried again before
/// the certificate is blamed.
fn in_doubt(outcome: Outcome) -> Outcome {
    Outcome { reason: Reason::VendorFault, progress: Progress::Unasked, ..outcome }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vendor::testing::reply;

    #[test]
    fn statuses_have_a_usual_meaning_and_a_vendors_own() {
        for (status, reason, is_suspect) in [
            (400, Reason::PayloadRefused, true),
            (401, Reason::CertificateRefused, false),
            (403, Reason::CertificateRefused, false),
            (404, Reason::PayloadRefused, true),
            (429, Reason::RateLimited, false),
            (500, Reason::VendorFault, false),
            (503, Reason::VendorFault, false),
            (302, Reason::Unrecognised, false),
        ] {
            let outcome = by_status(&reply(status, ""), &[]);
            assert_eq!((outcome.reason, outcome.is_suspect), (reason, is_suspect), "{status}");
        }
        assert_eq!(by_status(&reply(503, ""), &[(503, Reason::RateLimited)]).reason, Reason::RateLimited);
    }
}
