//! A commit that got no answer: what became of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::counting::Counts;
use super::group::{Part, Plan, answer, submit};
use super::{IntakeError, Worker};
use crate::dispatcher::Room;
use crate::domain::id::InstanceId;
use crate::store;
use crate::store::line::{STATEMENT_LIMIT, bounded};

/// How long a commit without an answer may still come true: the statement's own time limit, and some.
const SETTLE_FOR: Duration = Duration::from_secs(35);

/// A plan of which nobody knows yet whether it is stored.
struct Unsettled {
    expires_at: DateTime<Utc>,
    /// Those that this instance would send.
    parts: Vec<Part>,
    counted: Counts,
}

impl Worker {
    /// A commit whose answer was lost may have happened: then its deliveries are owned by this instance and nobody else
    /// will send them. The callers are told to try again; in the background the database is asked until it is certain.
    pub(super) fn settle_later(self: &Arc<Self>, plans: Vec<Plan>, owner: InstanceId, judged_at: Instant) {
        let mut unsettled = Vec::with_capacity(plans.len());
        for plan in plans {
            let Plan { answer: to, expires_at, parts, counted, .. } = plan;
            answer(to, Err(IntakeError::Unavailable));
            // What was counted for a message that only others would send stays counted, come true or not.
            let reserved: Vec<_> = parts.into_iter().filter(|part| part.room == Room::Reserved).collect();
            if !reserved.is_empty() {
                unsettled.push(Unsettled { expires_at, parts: reserved, counted });
            }
        }
        let worker = Arc::clone(self);
        self.tasks.spawn(async move { worker.settle(unsettled, owner, judged_at).await });
    }

    async fn settle(&self, mut unsettled: Vec<Unsettled>, owner: InstanceId, judged_at: Instant) {
        let since = Instant::now();
        let mut answered_since = None;
        while !unsettled.is_empty() {
            tokio::time::sleep(Duration::from_millis(250)).await;
            let ids: Vec<Uuid> = unsettled.iter().flat_map(|plan| &plan.parts).filter_map(first_delivery).collect();
            match bounded(STATEMENT_LIMIT, store::deliveries::owners(&self.database.api, &ids)).await {
                Ok(owners) => {
                    let answered = *answered_since.get_or_insert_with(Instant::now);
                    let is_mine = |id: Uuid| owners.get(&id) == Some(&Some(owner));
                    let is_stored = |plan: &Unsettled| plan.parts.iter().filter_map(first_delivery).any(is_mine);
                    let (stored, others): (Vec<_>, Vec<_>) = unsettled.into_iter().partition(is_stored);
                    for plan in stored {
                        submit(&self.dispatcher, owner, plan.expires_at, plan.parts, judged_at);
                    }
                    unsettled = others;
                    if answered.elapsed() > SETTLE_FOR {
                        break;
                    }
                }
                Err(_) if self.dispatcher.is_stopping() => break,
                Err(error) => tracing::debug!(%error, waited = ?since.elapsed(), "still asking for a lost commit"),
            }
        }
        for plan in unsettled {
            for part in &plan.parts {
                self.dispatcher.release(part.certificate_id, part.deliveries.len());
            }
            self.take_back(plan.counted);
        }
    }
}

fn first_delivery(part: &Part) -> Option<Uuid> {
    part.deliveries.first().map(|held| held.delivery_id.0)
}
