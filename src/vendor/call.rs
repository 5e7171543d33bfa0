//! Vendor calls that may be made once more at once, because the vendor did nothing: with a new access token, or in halves.

use std::sync::Arc;

use super::Target;
use super::access_token::AccessToken;
use super::http::{Failure, Reply};
use super::outcome::{Outcome, Reason};

/// What a call came to: one outcome per target, in their order.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answered {
    pub outcomes: Vec<Outcome>,
    pub remedy: Remedy,
}

/// What may help at once. Without it, or when it does not help, the outcomes hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remedy {
    None,
    /// The vendor refused the access token.
    NewToken,
    /// The vendor refused the whole call for one bad device token, and does not say which.
    Halves,
}

impl Answered {
    /// The same ending for each target.
    pub(super) fn all(outcome: &Outcome, targets: &[Target]) -> Self {
        Self { outcomes: outcome.for_each(targets.len()), remedy: Remedy::None }
    }

    /// Each its own.
    pub(super) fn each(outcomes: Vec<Outcome>) -> Self {
        Self { outcomes, remedy: Remedy::None }
    }

    /// With something that may help.
    pub(super) fn or(self, remedy: Remedy) -> Self {
        Self { remedy, ..self }
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

/// Calls with the access token, where the vendor has one (else with an empty text), until each target has its outcome.
pub(super) async fn send<'a, F, Answer>(token: Option<&AccessToken>, targets: &'a [Target], call: F) -> Vec<Outcome>
where
    F: Fn(Arc<str>, &'a [Target]) -> Answer,
    Answer: Future<Output = Answered>,
{
    let mut outcomes = Vec::with_capacity(targets.len());
    let mut waiting = vec![targets];
    let mut has_new_token = false;
    while let Some(part) = waiting.pop() {
        let used = match token {
            Some(token) => token.current().await,
            None => Ok(Arc::from("")),
        };
        let used = match used {
            Ok(used) => used,
            Err(outcome) => {
                outcomes.extend(outcome.for_each(part.len()));
                continue;
            }
        };
        let answered = call(Arc::clone(&used), part).await;
        match (answered.remedy, token) {
            (Remedy::NewToken, Some(token)) if !has_new_token => {
                has_new_token = true;
                match token.replace(&used).await {
                    Ok(()) => waiting.push(part),
                    Err(outcome) => outcomes.extend(outcome.for_each(part.len())),
                }
            }
            (Remedy::Halves, _) if part.len() > 1 => {
                let (first, second) = part.split_at(part.len() / 2);
                waiting.extend([second, first]);
            }
            _ => outcomes.extend(answered.outcomes),
        }
    }
    outcomes
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::vendor::testing::targets;

    #[tokio::test]
    async fn one_bad_token_is_found_by_halving_and_the_order_is_kept() {
        let tokens = ["a", "b", "c", "bad", "e", "f", "g"];
        let targets = targets(&tokens);
        let calls = Mutex::new(Vec::new());
        let outcomes = send(None, &targets, |_, part| {
            let names: String = part.iter().map(|target| target.token.as_str()).collect::<Vec<_>>().join(",");
            let is_bad = names.contains("bad");
            calls.lock().unwrap().push(names);
            async move {
                if is_bad {
                    Answered::all(&Outcome::new(Reason::TokenGone), part).or(Remedy::Halves)
                } else {
                    Answered::all(&Outcome::new(Reason::Accepted), part)
                }
            }
        })
        .await;
        let gone: Vec<bool> = outcomes.iter().map(|outcome| outcome.reason == Reason::TokenGone).collect();
        assert_eq!(gone, [false, false, false, true, false, false, false]);
        assert_eq!(calls.into_inner().unwrap(), ["a,b,c,bad,e,f,g", "a,b,c", "bad,e,f,g", "bad,e", "bad", "e", "f,g"]);
    }
}
