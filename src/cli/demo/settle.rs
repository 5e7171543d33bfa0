//! Compares what the client was promised with the database and with the simulators' inboxes, message by message.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::tally::{Numbers, Posted, Tally, add};
use super::vendors::Vendors;
use super::world::{World, token_of};
use crate::domain::id::NotificationId;
use crate::simulator::Received;
use crate::store::events::Ending;
use crate::store::{self, Database};

/// How often it looks.
const INTERVAL: Duration = Duration::from_millis(500);
/// Messages of one question.
const CHUNK: usize = 500;
/// Questions of one look.
const MAX_CHUNKS: usize = 20;
/// The most deliveries or endings of one message; the demo's groups are far smaller.
const MAX_EACH: i64 = 1_000;
/// The newest notifications that a simulator's inbox keeps.
const INBOX_SIZE: usize = 1_000;

pub(super) struct Settler {
    pub database: Database,
    pub vendors: Vendors,
    pub world: Arc<World>,
    pub tally: Arc<Tally>,
}

/// What the database says about one message.
#[derive(Default)]
struct Story<'a> {
    ended: HashMap<Uuid, &'a Ending>,
    skips: u64,
    waiting: HashSet<Uuid>,
}

impl Story<'_> {
    fn has_all_skips(&self, posted: &Posted) -> bool {
        posted.skipped == 0 || self.skips > 0
    }

    fn has_ended(&self, posted: &Posted) -> bool {
        count(self.ended.len()) >= posted.deliveries && self.has_all_skips(posted)
    }

    /// Deliveries that have not ended, and whether anything is missing altogether.
    fn rest(&self, posted: &Posted) -> (u64, bool) {
        let waiting = count(self.waiting.iter().filter(|id| !self.ended.contains_key(*id)).count());
        (waiting, count(self.ended.len()) + waiting < posted.deliveries || !self.has_all_skips(posted))
    }
}

impl Settler {
    /// Looks again and again until told to stop.
    pub(super) async fn follow(&self, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(INTERVAL)).await.is_some() {
            if let Err(error) = self.look(false).await {
                tracing::warn!(%error, "cannot read what became of the messages");
            }
        }
    }

    /// Looks at what has not ended. `is_final`: what neither ended nor waits is lost.
    pub(super) async fn look(&self, is_final: bool) -> sqlx::Result<()> {
        let mut left = self.tally.unsettled();
        let mut chunks = 0;
        while left > 0 && (is_final || chunks < MAX_CHUNKS) {
            let posted = self.tally.take_unsettled(CHUNK.min(left));
            left -= posted.len().max(1).min(left);
            chunks += 1;
            let ids: Vec<Uuid> = posted.iter().map(|posted| posted.notification_id).collect();
            match self.read(&ids, is_final).await {
                Ok((waiting, endings)) => self.judge(posted, &waiting, &endings, is_final),
                Err(error) => {
                    self.tally.give_back(posted);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// What waits is read before what ended: a delivery on its way from one to the other is in both, never in none.
    async fn read(&self, ids: &[Uuid], is_final: bool) -> sqlx::Result<(Vec<Uuid>, Vec<Ending>)> {
        let waiting = if is_final {
            let rows = store::deliveries::waiting_of_notifications(&self.database.api, ids, MAX_EACH).await?;
            rows.into_iter().map(|id| id.0).collect()
        } else {
            Vec::new()
        };
        let endings = store::events::endings_of_notifications(&self.database.api, ids, MAX_EACH).await?;
        Ok((waiting, endings))
    }

    fn judge(&self, posted: Vec<Posted>, waiting: &[Uuid], endings: &[Ending], is_final: bool) {
        let mut stories: HashMap<Uuid, Story<'_>> = HashMap::with_capacity(posted.len());
        for id in waiting {
            stories.entry(NotificationId::containing(*id).0).or_default().waiting.insert(*id);
        }
        for ending in endings {
            let notification_id = NotificationId::containing(ending.delivery_id).0;
            let story = stories.entry(notification_id).or_default();
            if ending.kind == "skipped" {
                story.skips += 1;
            } else {
                story.ended.insert(ending.delivery_id, ending);
            }
        }
        let mut inboxes = HashMap::new();
        let mut not_ended = Vec::new();
        let nothing = Story::default();
        for posted in posted {
            let story = stories.get(&posted.notification_id).unwrap_or(&nothing);
            if !is_final && !story.has_ended(&posted) {
                not_ended.push(posted);
                continue;
            }
            let (unfinished, is_lost) = story.rest(&posted);
            if is_lost {
                tracing::warn!(notification.id = %posted.notification_id, message_id = posted.message_id, "lost");
            }
            let mut phantoms = 0;
            for ending in story.ended.values().filter(|ending| is_accepted(ending)) {
                phantoms += u64::from(!self.reached_phone(&posted, ending, &mut inboxes));
            }
            self.tally.count(|numbers| {
                self.count_endings(numbers, story);
                if unfinished > 0 {
                    add(&mut numbers.outcomes, "waiting", unfinished);
                }
                numbers.lost += u64::from(is_lost);
                numbers.phantom += phantoms;
            });
        }
        self.tally.give_back(not_ended);
    }

    /// Whether the vendor gave this id out, for this message, to this phone. Measures how long it took.
    fn reached_phone(&self, posted: &Posted, ending: &Ending, inboxes: &mut HashMap<String, Vec<Received>>) -> bool {
        let id = ending.vendor_message_id.as_deref().unwrap_or_default();
        let vendor = self.world.vendor_of(ending.certificate_id);
        let token = token_of(vendor, posted.app_id, ending.device_id.as_deref().unwrap_or_default());
        let inbox = inboxes.entry(token).or_insert_with_key(|token| self.vendors.inbox(token));
        let is_this = |received: &&Received| {
            let member = received.extras.get("message_id");
            let carries = member == Some(&posted.message_id)
                || received.payload.as_ref().is_some_and(|data| data.contains(&posted.message_id));
            received.message_id == id && carries
        };
        let is_known = self.vendors.has_message_id(id);
        if let Some(received) = inbox.iter().rev().find(is_this) {
            let arrived_ms = u64::try_from(received.at_ms).unwrap_or_default();
            let accepted_ms = NotificationId(posted.notification_id).unix_ms();
            let after_accept_ms = arrived_ms.saturating_sub(accepted_ms);
            self.tally.reached_vendor(vendor, after_accept_ms, arrived_ms.saturating_sub(posted.sent_at_ms));
            return is_known;
        }
        let is_found = is_known && inbox.len() >= INBOX_SIZE; // the inbox has moved on
        if !is_found {
            tracing::warn!(delivery.id = %ending.delivery_id, vendor_message_id = id, "accepted, but in no inbox");
        }
        is_found
    }
}

impl Settler {
    fn count_endings(&self, numbers: &mut Numbers, story: &Story<'_>) {
        for ending in story.ended.values() {
            let reason = ending.reason.as_deref().unwrap_or("unknown");
            if ending.kind == "attempt" {
                let vendor = self.world.vendor_of(ending.certificate_id);
                add(numbers.vendors.entry(vendor.as_str().to_owned()).or_default(), reason, 1);
                add(&mut numbers.outcomes, reason, 1);
            } else {
                add(&mut numbers.outcomes, &ending.kind, 1);
            }
        }
    }
}

fn is_accepted(ending: &Ending) -> bool {
    ending.kind == "attempt" && ending.reason.as_deref() == Some("accepted")
}

fn count(n: usize) -> u64 {
    n as u64
}
