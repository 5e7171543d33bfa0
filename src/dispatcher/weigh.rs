//! What a call's answers say about the lane: whether the vendor works, the rate holds, tokens may be unbound, and the
//! certificate is what it should be.

use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, Utc};

use super::Inner;
use super::lane::Lane;
use crate::directory::Entry;
use crate::domain::notification::Notification;
use crate::domain::prune::Verdict;
use crate::telemetry;
use crate::vendor::outcome::{Outcome, Reason};

/// What the prune breaker allows for this call.
#[derive(Clone, Copy)]
pub(super) struct PruneVerdict {
    pub(super) dead: Verdict,
    pub(super) malformed: Verdict,
}

/// Tells the prune breaker, the circuit breaker and the pacer about a call's answers.
pub(super) fn weigh(
    inner: &Arc<Inner>,
    lane: &Arc<Lane>,
    entry: &Arc<Entry>,
    notification: &Notification,
    outcomes: &[Outcome],
    now: DateTime<Utc>,
) -> PruneVerdict {
    let count = |wanted: fn(Reason) -> bool| {
        u32::try_from(outcomes.iter().filter(|outcome| wanted(outcome.reason)).count()).unwrap_or(u32::MAX)
    };
    let dead = count(|reason| matches!(reason, Reason::TokenGone | Reason::TokenMalformed));
    let accepted = count(|reason| reason == Reason::Accepted);
    let is_outage = outcomes.iter().all(|outcome| outcome.reason.is_outage());
    // What the message itself asked for may be what the vendor refuses.
    let has_options = notification.android().is_some();
    let is_suspect = outcomes.iter().all(|outcome| outcome.is_suspect && !(outcome.blames_options && has_options));
    let mut state = lane.state();
    let opened = state.breaker.record(is_outage, Instant::now());
    let revision = entry.certificate.revision;
    if revision > state.revision {
        // What is known of the tokens was learnt with other credentials, another environment or topic.
        state.prune.reset();
        (state.suspects, state.revision) = (0, revision);
    }
    let is_outdated = revision < state.revision;
    if outcomes.iter().any(|outcome| outcome.reason == Reason::RateLimited && !outcome.spares_lane) {
        state.pacer.slow_down(Instant::now());
    }
    let was_open = state.prune.is_open();
    let verdict = match (is_outdated, dead + accepted) {
        (true, _) => Verdict::Withheld,
        (false, 0) => Verdict::Unbind,
        (false, _) => state.prune.judge(dead, accepted, now),
    };
    let malformed = if state.prune.has_successes() { verdict } else { Verdict::Withheld };
    let prune_opened = !was_open && state.prune.is_open();
    state.suspects = if is_suspect && !is_outdated {
        state.suspects + 1
    } else if accepted > 0 {
        0
    } else {
        state.suspects
    };
    let is_misconfigured = state.suspects >= inner.options.suspect_answers;
    if is_misconfigured {
        state.suspects = 0;
    }
    drop(state);
    let certificate = lane.certificate_id.0;
    if opened {
        tracing::error!(certificate.id = certificate, "the vendor keeps failing: circuit breaker open");
        telemetry::metrics::breaker_opened(entry.certificate.vendor);
        lane.wake.notify_one();
    }
    if prune_opened {
        tracing::error!(
            certificate.id = certificate,
            "a burst of dead tokens: wrong region, environment or a test-mode app? unbinding is stopped"
        );
        telemetry::metrics::prune_breaker_opened(entry.certificate.vendor);
    }
    if is_misconfigured {
        let (inner, entry, outcomes) = (Arc::clone(inner), Arc::clone(entry), outcomes.to_vec());
        tokio::spawn(async move { inner.refuse_certificate(&entry, &outcomes).await });
    }
    PruneVerdict { dead: verdict, malformed }
}
