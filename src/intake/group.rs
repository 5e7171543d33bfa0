//! One group of requests: routed with one statement, stored with another.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Accepted, IntakeError, NewNotification, Skipped, Waiting, Worker};
use crate::directory::{Entry, Snapshot};
use crate::dispatcher::Room;
use crate::dispatcher::lane::{Held, Parcel};
use crate::domain::app::{AppSettings, BadgeSource};
use crate::domain::id::{CertificateId, InstanceId, MAX_DELIVERIES, NotificationId};
use crate::domain::notification::{Notification, SharedNotification};
use crate::domain::routing::{Candidate, SkipReason, Wishes, decide};
use crate::store::line::{STATEMENT_LIMIT, bounded, is_ambiguous};
use crate::store::notifications::{Acceptance, RoutedDevice, Skip, Stored};
use crate::{store, telemetry};

/// How long a commit without an answer may still come true: the statement's own time limit, and some.
const SETTLE_FOR: Duration = Duration::from_secs(35);

/// How often an unknown certificate is looked for, and how long.
const LOOK_EVERY: Duration = Duration::from_millis(200);
const LOOK_FOR: Duration = Duration::from_secs(1);

/// A request with everything decided.
struct Plan {
    new: NewNotification,
    answer: tokio::sync::oneshot::Sender<Result<Accepted, IntakeError>>,
    notification: SharedNotification,
    expires_at: DateTime<Utc>,
    parts: Vec<Part>,
    skipped: Vec<Skipped>,
}

/// The deliveries of a plan that share a certificate and what is sent.
struct Part {
    certificate_id: CertificateId,
    room: Room,
    deliveries: Vec<Held>,
}

impl Plan {
    fn deliveries(&self) -> usize {
        self.parts.iter().map(|part| part.deliveries.len()).sum()
    }
}

/// Takes out the requests whose key stands in the group before: each goes into the next group, where it is a replay.
pub(super) fn split_repeated_keys(group: &mut Vec<Waiting>) -> Vec<Waiting> {
    let mut seen = HashSet::new();
    let is_first = |waiting: &Waiting| {
        let new = &waiting.new;
        seen.insert((new.app_id, new.message_id.clone(), new.part))
    };
    let (first, repeated) = std::mem::take(group).into_iter().partition(is_first);
    *group = first;
    repeated
}

impl Worker {
    pub(super) async fn commit(self: &Arc<Self>, group: Vec<Waiting>) {
        let judged_at = Instant::now();
        let routed = match self.route(&group).await {
            Ok(routed) => routed,
            Err(error) => {
                tracing::warn!(%error, requests = group.len(), "cannot route; nothing was stored");
                for waiting in group {
                    answer(waiting.answer, Err(IntakeError::Unavailable));
                }
                return;
            }
        };
        let snapshot = self.snapshot_for(&routed).await;
        let mut routed = routed.into_iter().peekable();
        let mut first_recipient = 0;
        let mut plans = Vec::with_capacity(group.len());
        for waiting in group {
            let count = waiting.new.to.len();
            let end = first_recipient + count;
            let mut devices: Vec<Vec<RoutedDevice>> = (0..count).map(|_| Vec::new()).collect();
            while let Some(device) = routed.next_if(|device| device.recipient < end) {
                if let Some(of_user) = devices.get_mut(device.recipient - first_recipient) {
                    of_user.push(device);
                }
            }
            first_recipient = end;
            plans.push(self.plan(waiting, devices, &snapshot));
        }
        self.store(plans, judged_at).await;
    }

    async fn route(&self, group: &[Waiting]) -> sqlx::Result<Vec<RoutedDevice>> {
        let never =
            |new: &NewNotification| new.content.offline_push_info.as_ref().is_some_and(|info| info.push_flag == 1);
        let recipients = group.iter().flat_map(|waiting| {
            // A message that is never pushed needs no devices; its recipients keep their places.
            let new = &waiting.new;
            let is_asked = !never(new);
            new.to.iter().map(move |to| (if is_asked { new.app_id.0 } else { 0 }, to.user_id.as_str()))
        });
        let (app_ids, user_ids): (Vec<i64>, Vec<&str>) = recipients.unzip();
        let mut line = self.line.open().await?;
        let routed = bounded(STATEMENT_LIMIT, store::notifications::route(&mut *line, &app_ids, &user_ids)).await;
        let mut routed = line.keep(routed)?;
        routed.sort_by_key(|device| device.recipient);
        Ok(routed)
    }

    /// A view that knows the certificates of these devices: one that was made on another instance a moment ago may not have
    /// been told of yet.
    async fn snapshot_for(&self, routed: &[RoutedDevice]) -> Arc<Snapshot> {
        let snapshot = self.directory.snapshot().clone();
        let mut bound = routed.iter().filter_map(|device| device.certificate_id);
        if bound.all(|id| snapshot.certificates.contains_key(&CertificateId(id))) {
            return snapshot;
        }
        // Most often it was deleted: it is not looked for each time, and never for long.
        let is_time = {
            let mut looked_at = self.looked_at.lock().unwrap_or_else(PoisonError::into_inner);
            let is_time = looked_at.is_none_or(|at| at.elapsed() > LOOK_EVERY);
            if is_time {
                *looked_at = Some(Instant::now());
            }
            is_time
        };
        if is_time && let Err(error) = bounded(LOOK_FOR, self.directory.look_again()).await {
            tracing::warn!(%error, "cannot look for a certificate that devices are bound with");
        }
        self.directory.snapshot().clone()
    }

    /// Decides everything about one request.
    fn plan(&self, waiting: Waiting, devices: Vec<Vec<RoutedDevice>>, snapshot: &Snapshot) -> Plan {
        let Waiting { mut new, answer } = waiting;
        let fallback = AppSettings::default();
        let settings = snapshot.apps.get(&new.app_id).map_or(&fallback, |app| &app.settings);
        if new.content.title.trim().is_empty() {
            new.content.title = settings.default_title.to_string();
        }
        let notification_id = NotificationId::new(self.clock.now_ms(), rand::random());
        let content = new.content.clone();
        let notification = Arc::new(Notification { notification_id, app_id: new.app_id, content });
        let mut chosen = Vec::new();
        let skipped = choose(&new, devices, settings, snapshot, &mut chosen);
        let parts = self.parts(&notification, chosen, snapshot);
        let expires_at = notification.expires_at();
        Plan { new, answer, notification, expires_at, parts, skipped }
    }

    /// Groups deliveries by certificate and takes room for them in its lane.
    fn parts(&self, notification: &SharedNotification, chosen: Vec<Chosen>, snapshot: &Snapshot) -> Vec<Part> {
        let mut by_certificate: HashMap<(CertificateId, Option<i32>), Vec<Held>> = HashMap::new();
        for (number, chosen) in (1..=MAX_DELIVERIES).zip(chosen) {
            let held = Held {
                owner: self.dispatcher.instance_id(),
                delivery_id: notification.notification_id.delivery(number),
                user_id: chosen.user_id,
                device_id: chosen.device_id,
                token: chosen.token,
                badge: chosen.badge,
                attempts: 0,
            };
            by_certificate.entry((chosen.certificate_id, chosen.badge)).or_default().push(held);
        }
        by_certificate
            .into_iter()
            .map(|((certificate_id, _), deliveries)| {
                let entry = snapshot.certificates.get(&certificate_id);
                let room = entry.map_or(Room::None, |entry| {
                    let class = entry.ready().map(|vendor| vendor.message_class(notification));
                    self.dispatcher.reserve(entry, class.as_deref(), deliveries.len())
                });
                Part { certificate_id, room, deliveries }
            })
            .collect()
    }

    async fn store(self: &Arc<Self>, plans: Vec<Plan>, judged_at: Instant) {
        let group = self.rows(&plans);
        let (owner, now) = (self.dispatcher.instance_id(), self.clock.now());
        match self.accept(&group, owner, now).await {
            Ok(stored) => self.answer_all(plans, stored, owner, judged_at),
            Err(error) if is_ambiguous(&error) => {
                tracing::error!(%error, requests = plans.len(), "no answer to a commit; asking what became of it");
                self.settle_later(plans, owner, judged_at);
            }
            Err(sqlx::Error::Database(error)) if plans.len() > 1 && is_about_the_data(error.code().as_deref()) => {
                tracing::error!(%error, requests = plans.len(), "a group was refused; storing its requests one by one");
                for plan in plans {
                    Box::pin(self.store(vec![plan], judged_at)).await;
                }
            }
            Err(error) => {
                tracing::error!(%error, requests = plans.len(), "cannot store notifications; nothing was stored");
                let is_data = matches!(&error, sqlx::Error::Database(e) if is_about_the_data(e.code().as_deref()));
                for plan in plans {
                    self.give_room_back(&plan);
                    answer(plan.answer, Err(if is_data { IntakeError::Refused } else { IntakeError::Unavailable }));
                }
            }
        }
    }

    async fn accept(&self, group: &Acceptance, owner: InstanceId, now: DateTime<Utc>) -> sqlx::Result<Stored> {
        let mut line = self.line.open().await?;
        let stored = bounded(STATEMENT_LIMIT, store::notifications::accept(&mut *line, group, owner, now)).await;
        line.keep(stored)
    }

    fn rows(&self, plans: &[Plan]) -> Acceptance {
        let now = self.clock.now();
        let mut group = Acceptance::default();
        // Groups of two instances that insert the same keys in different order would wait for each other.
        let mut in_order: Vec<&Plan> = plans.iter().collect();
        in_order.sort_unstable_by_key(|plan| (plan.new.app_id.0, &*plan.new.message_id, plan.new.part));
        for plan in in_order {
            let id = plan.notification.notification_id.0;
            let app_id = plan.new.app_id.0;
            let deliveries = plan.deliveries();
            let messages = &mut group.messages;
            messages.app_ids.push(app_id);
            messages.message_ids.push(plan.new.message_id.clone());
            messages.parts.push(i32::from(plan.new.part));
            messages.body_hashes.push(plan.new.body_hash.to_vec());
            messages.notification_ids.push(id);
            messages.deliveries.push(i32::try_from(deliveries).unwrap_or(i32::MAX));
            messages.skipped.push(i32::try_from(plan.skipped.len()).unwrap_or(i32::MAX));
            messages.contents.push(if deliveries == 0 {
                Vec::new()
            } else {
                serde_json::to_vec(&plan.notification.content).unwrap_or_default()
            });
            for part in &plan.parts {
                for held in &part.deliveries {
                    let rows = &mut group.deliveries;
                    rows.delivery_ids.push(held.delivery_id.0);
                    rows.notification_ids.push(id);
                    rows.app_ids.push(app_id);
                    rows.certificate_ids.push(part.certificate_id.0);
                    rows.user_ids.push(held.user_id.clone());
                    rows.device_ids.push(held.device_id.clone());
                    rows.tokens.push(held.token.clone());
                    rows.due_at.push(if let Room::HeldUntil(until) = part.room { until } else { now });
                    rows.expires_at.push(plan.expires_at);
                    rows.badges.push(held.badge);
                    rows.owned.push(part.room == Room::Reserved);
                    rows.priorities.push(plan.notification.content.priority.rank());
                }
            }
            let skips: Vec<Skip> = plan
                .skipped
                .iter()
                .map(|skip| (skip.user_id.clone(), skip.device_id.clone(), skip.reason.as_str()))
                .collect();
            group.skips.add(app_id, id, &skips);
        }
        group
    }

    /// After the commit: what is new goes into the lanes, what was known is answered as such.
    fn answer_all(self: &Arc<Self>, plans: Vec<Plan>, stored: Stored, owner: InstanceId, judged_at: Instant) {
        let fresh: HashSet<NotificationId> = stored.fresh.into_iter().collect();
        for plan in plans {
            if fresh.contains(&plan.notification.notification_id) {
                let deliveries = plan.deliveries();
                telemetry::metrics::deliveries_accepted(deliveries);
                for skip in &plan.skipped {
                    telemetry::metrics::skipped(skip.reason, 1);
                }
                let notification_id = plan.notification.notification_id;
                if stored.is_owner {
                    let (notification, expires_at) = (&plan.notification, plan.expires_at);
                    submit(&self.dispatcher, owner, notification, expires_at, plan.parts, judged_at);
                } else {
                    // Given up by the others meanwhile: the deliveries wait unowned, for anyone.
                    self.give_room_back(&plan);
                }
                answer(plan.answer, Ok(Accepted::New { notification_id, deliveries, skipped: plan.skipped }));
            } else {
                self.give_room_back(&plan);
                // Beside the commits: a storm of replays must not hold up what is new.
                let worker = Arc::clone(self);
                self.tasks.spawn(async move {
                    let known = worker.known(&plan.new).await;
                    answer(plan.answer, known);
                });
            }
        }
    }

    async fn known(&self, new: &NewNotification) -> Result<Accepted, IntakeError> {
        let part = i32::from(new.part);
        let find = store::notifications::find(&self.database.api, new.app_id, &new.message_id, part);
        match bounded(STATEMENT_LIMIT, find).await {
            Ok(Some(known)) if known.body_hash == new.body_hash => {
                Ok(Accepted::Replayed { notification_id: known.notification_id, deliveries: known.deliveries })
            }
            Ok(Some(_)) => Ok(Accepted::Reused),
            Ok(None) => Err(IntakeError::Unavailable),
            Err(error) => {
                tracing::warn!(%error, "cannot look up a known message id");
                Err(IntakeError::Unavailable)
            }
        }
    }

    fn give_room_back(&self, plan: &Plan) {
        for part in plan.parts.iter().filter(|part| part.room == Room::Reserved) {
            self.dispatcher.release(part.certificate_id, part.deliveries.len());
        }
    }

    /// A commit whose answer was lost may have happened: then its deliveries are owned by this instance and nobody else
    /// will send them. The callers are told to try again; in the background the database is asked until it is certain.
    fn settle_later(self: &Arc<Self>, plans: Vec<Plan>, owner: InstanceId, judged_at: Instant) {
        let mut unsettled = Vec::with_capacity(plans.len());
        for plan in plans {
            let Plan { answer: to, notification, expires_at, parts, .. } = plan;
            answer(to, Err(IntakeError::Unavailable));
            let reserved: Vec<_> = parts.into_iter().filter(|part| part.room == Room::Reserved).collect();
            if !reserved.is_empty() {
                unsettled.push((notification, expires_at, reserved));
            }
        }
        let worker = Arc::clone(self);
        self.tasks.spawn(async move { worker.settle(unsettled, owner, judged_at).await });
    }

    async fn settle(
        &self,
        mut unsettled: Vec<(SharedNotification, DateTime<Utc>, Vec<Part>)>,
        owner: InstanceId,
        judged_at: Instant,
    ) {
        let since = Instant::now();
        let mut answered_since = None;
        while !unsettled.is_empty() {
            tokio::time::sleep(Duration::from_millis(250)).await;
            let ids: Vec<Uuid> = unsettled.iter().flat_map(|(_, _, parts)| parts).filter_map(first_delivery).collect();
            match bounded(STATEMENT_LIMIT, store::deliveries::owners(&self.database.api, &ids)).await {
                Ok(owners) => {
                    let answered = *answered_since.get_or_insert_with(Instant::now);
                    let is_mine = |id: Uuid| owners.get(&id) == Some(&Some(owner));
                    let is_stored = |parts: &[Part]| parts.iter().filter_map(first_delivery).any(is_mine);
                    let (stored, others): (Vec<_>, Vec<_>) =
                        unsettled.into_iter().partition(|(_, _, parts)| is_stored(parts));
                    for (notification, expires_at, parts) in stored {
                        submit(&self.dispatcher, owner, &notification, expires_at, parts, judged_at);
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
        for part in unsettled.into_iter().flat_map(|(_, _, parts)| parts) {
            self.dispatcher.release(part.certificate_id, part.deliveries.len());
        }
    }
}

fn first_delivery(part: &Part) -> Option<Uuid> {
    part.deliveries.first().map(|held| held.delivery_id.0)
}

fn submit(
    dispatcher: &crate::dispatcher::Dispatcher,
    owner: InstanceId,
    notification: &SharedNotification,
    expires_at: DateTime<Utc>,
    parts: Vec<Part>,
    judged_at: Instant,
) {
    for part in parts {
        if part.room == Room::Reserved {
            let notification = Arc::clone(notification);
            // The one that was stored; the instance may have been given up since the deliveries were planned.
            let deliveries = part.deliveries.into_iter().map(|held| Held { owner, ..held }).collect();
            let parcel = Parcel { notification, is_backlog: false, expires_at, judged_at, put_backs: 0, deliveries };
            dispatcher.submit(part.certificate_id, parcel);
        }
    }
}

fn answer(to: tokio::sync::oneshot::Sender<Result<Accepted, IntakeError>>, result: Result<Accepted, IntakeError>) {
    // The caller may have gone away; what was committed stays committed.
    drop(to.send(result));
}

/// A device that gets a delivery.
struct Chosen {
    certificate_id: CertificateId,
    user_id: String,
    device_id: String,
    token: String,
    badge: Option<i32>,
}

/// Decides for every device of every recipient.
fn choose(
    new: &NewNotification,
    devices: Vec<Vec<RoutedDevice>>,
    settings: &AppSettings,
    snapshot: &Snapshot,
    chosen: &mut Vec<Chosen>,
) -> Vec<Skipped> {
    let is_never = new.content.offline_push_info.as_ref().is_some_and(|info| info.push_flag == 1);
    let wishes = Wishes {
        sender_id: new.sender_id.as_deref(),
        sender_device_id: new.sender_device_id.as_deref(),
        only_devices: &new.only_devices,
        exclude_devices: &new.exclude_devices,
        force: new.content.force,
    };
    let mut skipped = Vec::new();
    for (recipient, of_user) in new.to.iter().zip(devices) {
        let mut skip = |device_id: Option<String>, reason| {
            skipped.push(Skipped { user_id: recipient.user_id.clone(), device_id, reason });
        };
        if is_never || of_user.is_empty() {
            skip(None, if is_never { SkipReason::NeverPush } else { SkipReason::NoDevice });
            continue;
        }
        for device in of_user {
            let candidate = Candidate {
                user_id: &recipient.user_id,
                device_id: &device.device_id,
                platform: device.platform,
                state: device.state,
                binding: device.binding,
            };
            if let Some(reason) = decide(&candidate, &wishes, settings) {
                skip(Some(device.device_id), reason);
                continue;
            }
            let certificate = device.certificate_id.map(CertificateId).filter(|id| is_usable(snapshot, *id, new));
            let (Some(certificate_id), Some(token)) = (certificate, device.token) else {
                skip(Some(device.device_id), SkipReason::CertificateMissing);
                continue;
            };
            let badge = match settings.badge {
                BadgeSource::Caller => recipient.badge.or(device.unread),
                BadgeSource::None => None,
            };
            let badge = badge.filter(|_| entry_uses_badge(snapshot.certificates.get(&certificate_id)));
            let user_id = recipient.user_id.clone();
            chosen.push(Chosen { certificate_id, user_id, device_id: device.device_id, token, badge });
        }
    }
    skipped
}

fn is_usable(snapshot: &Snapshot, id: CertificateId, new: &NewNotification) -> bool {
    snapshot.certificate_of(new.app_id, id).is_some()
}

/// Deliveries with different badges cannot share a call, so a badge is kept only where it is sent.
fn entry_uses_badge(entry: Option<&Arc<Entry>>) -> bool {
    entry.and_then(|entry| entry.adapter.as_ref().ok()).is_some_and(|vendor| vendor.limits().uses_badge)
}

/// The refusal is about one request's values, not about the server: classes 22 (data) and 23 (constraints).
fn is_about_the_data(code: Option<&str>) -> bool {
    code.is_some_and(|code| code.starts_with("22") || code.starts_with("23"))
}
