//! One group of requests: routed with one statement, stored with another.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::choose::{Choice, Chosen, choose};
use super::counting::Counts;
use super::superseding;
use super::{Accepted, IntakeError, NewNotification, Skipped, Waiting, Worker};
use crate::directory::Snapshot;
use crate::dispatcher::Room;
use crate::dispatcher::lane::{Held, Parcel};
use crate::domain::app::AppSettings;
use crate::domain::burst::TextVariant;
use crate::domain::id::{AppId, CertificateId, InstanceId, MAX_DELIVERIES, NotificationId};
use crate::domain::notification::{Notification, SharedNotification};
use crate::domain::routing::SkipReason;
use crate::store::apps::App;
use crate::store::line::{STATEMENT_LIMIT, bounded, is_ambiguous};
use crate::store::notifications::{Acceptance, Question, RoutedDevice, Skip, Stored};
use crate::{store, telemetry};

/// How often an unknown certificate is looked for, and how long.
const LOOK_EVERY: Duration = Duration::from_millis(200);
const LOOK_FOR: Duration = Duration::from_secs(1);

/// A request with everything decided.
pub(super) struct Plan {
    new: NewNotification,
    pub(super) answer: tokio::sync::oneshot::Sender<Result<Accepted, IntakeError>>,
    notification: SharedNotification,
    pub(super) expires_at: DateTime<Utc>,
    pub(super) parts: Vec<Part>,
    skipped: Vec<Skipped>,
    pub(super) counted: Counts,
    /// Users for whom something waits that it may replace.
    pub(super) has_waiting: HashSet<String>,
    /// Its content is stored: somebody gets it, or may get it later.
    is_kept: bool,
}

/// A request of which is known who gets it.
pub(super) struct Draft {
    pub(super) new: NewNotification,
    pub(super) answer: tokio::sync::oneshot::Sender<Result<Accepted, IntakeError>>,
    pub(super) chosen: Vec<Chosen>,
    pub(super) skipped: Vec<Skipped>,
    /// What was counted for it, to be taken back if it was known already.
    pub(super) counted: Counts,
    /// It was accepted before, as far as was asked.
    pub(super) is_known: bool,
}

/// The deliveries of a plan that share a certificate and what is sent.
pub(super) struct Part {
    /// With the text that these devices show.
    pub(super) notification: SharedNotification,
    variant: TextVariant,
    pub(super) certificate_id: CertificateId,
    pub(super) room: Room,
    pub(super) deliveries: Vec<Held>,
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
        let mut drafts = Vec::with_capacity(group.len());
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
            drafts.push(self.draft(waiting, devices, &snapshot));
        }
        let drafts = self.count(drafts, &snapshot).await;
        let plans: Vec<Plan> = drafts.into_iter().map(|draft| self.plan(draft, &snapshot)).collect();
        if !plans.is_empty() {
            self.store(plans, judged_at).await;
        }
    }

    async fn route(&self, group: &[Waiting]) -> sqlx::Result<Vec<RoutedDevice>> {
        let mut question = Question::default();
        for waiting in group {
            waiting.new.ask(&mut question);
        }
        let now = self.clock.now();
        let mut line = self.line.open().await?;
        let routed = bounded(STATEMENT_LIMIT, store::notifications::route(&mut *line, &question, now)).await;
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

    /// Decides who gets one request.
    fn draft(&self, waiting: Waiting, devices: Vec<Vec<RoutedDevice>>, snapshot: &Snapshot) -> Draft {
        let Waiting { mut new, answer } = waiting;
        let settings = settings_of(snapshot, new.app_id);
        if new.content.title.trim().is_empty() {
            new.content.title = settings.default_title.to_string();
        }
        let mut draft =
            Draft { answer, chosen: Vec::new(), skipped: Vec::new(), counted: Vec::new(), is_known: false, new };
        for choice in choose(&draft.new, devices, &settings, snapshot, self.clock.now()) {
            match choice {
                Choice::Push(chosen) => draft.chosen.push(chosen),
                Choice::Skip(skipped) => draft.skipped.push(skipped),
            }
        }
        draft
    }

    /// Decides everything else about it.
    fn plan(&self, draft: Draft, snapshot: &Snapshot) -> Plan {
        let Draft { new, answer, chosen, skipped, counted, is_known: _ } = draft;
        let settings = settings_of(snapshot, new.app_id);
        let notification_id = self.ids.next(self.clock.now_ms());
        let content = new.content.clone();
        let notification = Arc::new(Notification { notification_id, app_id: new.app_id, content });
        let waited_for = chosen.iter().filter(|chosen| chosen.has_waiting);
        let has_waiting = waited_for.map(|chosen| chosen.user_id.clone()).collect();
        let was_online = |skip: &Skipped| matches!(skip.reason, SkipReason::Foreground | SkipReason::Background);
        let is_kept = !chosen.is_empty() || (settings.rescue_window_s > 0 && skipped.iter().any(was_online));
        let parts = self.parts(&notification, chosen, &settings, snapshot);
        let expires_at = notification.expires_at();
        Plan { new, answer, notification, expires_at, parts, skipped, counted, has_waiting, is_kept }
    }

    /// Groups deliveries by certificate and takes room for them in its lane.
    fn parts(
        &self,
        notification: &SharedNotification,
        chosen: Vec<Chosen>,
        settings: &AppSettings,
        snapshot: &Snapshot,
    ) -> Vec<Part> {
        let mut by_content: HashMap<(CertificateId, Option<i32>, TextVariant), Vec<Held>> = HashMap::new();
        for (number, chosen) in (1..=MAX_DELIVERIES).zip(chosen) {
            let held = Held {
                owner: self.dispatcher.instance_id(),
                delivery_id: notification.notification_id.delivery(number),
                user_id: chosen.user_id,
                device_id: chosen.device_id,
                token: chosen.token,
                badge: chosen.badge,
                attempts: 0,
                collapse: None,
            };
            by_content.entry((chosen.certificate_id, chosen.badge, chosen.variant)).or_default().push(held);
        }
        by_content
            .into_iter()
            .map(|((certificate_id, _, variant), deliveries)| {
                let notification = notification.showing(variant, settings);
                let entry = snapshot.certificates.get(&certificate_id);
                let room = entry.map_or(Room::None, |entry| {
                    let class = entry.ready().map(|vendor| vendor.message_class(&notification));
                    self.dispatcher.reserve(entry, class.as_deref(), deliveries.len())
                });
                Part { notification, variant, certificate_id, room, deliveries }
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
                for mut plan in plans {
                    self.give_room_back(&plan);
                    self.take_back(std::mem::take(&mut plan.counted));
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
            messages.contents.push(if plan.is_kept {
                serde_json::to_vec(&plan.notification.content).unwrap_or_default()
            } else {
                Vec::new()
            });
            for part in &plan.parts {
                let collapse = part.notification.collapse_digest();
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
                    rows.text_variants.push(part.variant.stored());
                    rows.collapses.push(collapse);
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
        for mut plan in plans {
            if fresh.contains(&plan.notification.notification_id) {
                let deliveries = plan.deliveries();
                telemetry::metrics::deliveries_accepted(deliveries);
                for skip in &plan.skipped {
                    telemetry::metrics::skipped(skip.reason, 1);
                }
                let notification_id = plan.notification.notification_id;
                let replacing = superseding::of(&plan);
                if stored.is_owner {
                    submit(&self.dispatcher, owner, plan.expires_at, plan.parts, judged_at);
                } else {
                    // Given up by the others meanwhile: the deliveries wait unowned, for anyone.
                    self.give_room_back(&plan);
                }
                self.supersede(replacing);
                answer(plan.answer, Ok(Accepted::New { notification_id, deliveries, skipped: plan.skipped }));
            } else {
                self.give_room_back(&plan);
                self.take_back(std::mem::take(&mut plan.counted));
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
}

pub(super) fn submit(
    dispatcher: &crate::dispatcher::Dispatcher,
    owner: InstanceId,
    expires_at: DateTime<Utc>,
    parts: Vec<Part>,
    judged_at: Instant,
) {
    for part in parts {
        if part.room == Room::Reserved {
            let notification = part.notification;
            // The one that was stored; the instance may have been given up since the deliveries were planned.
            let deliveries = part.deliveries.into_iter().map(|held| Held { owner, ..held }).collect();
            let parcel = Parcel { notification, is_backlog: false, expires_at, judged_at, put_backs: 0, deliveries };
            dispatcher.submit(part.certificate_id, parcel);
        }
    }
}

pub(super) fn answer(
    to: tokio::sync::oneshot::Sender<Result<Accepted, IntakeError>>,
    result: Result<Accepted, IntakeError>,
) {
    // The caller may have gone away; what was committed stays committed.
    drop(to.send(result));
}

/// The refusal is about one request's values, not about the server: classes 22 (data) and 23 (constraints).
fn is_about_the_data(code: Option<&str>) -> bool {
    code.is_some_and(|code| code.starts_with("22") || code.starts_with("23"))
}

/// The settings of an app; the defaults for one that is gone.
pub(super) fn settings_of(snapshot: &Snapshot, app_id: AppId) -> Cow<'_, AppSettings> {
    match snapshot.apps.get(&app_id).map(|app: &Arc<App>| &app.settings) {
        Some(settings) => Cow::Borrowed(settings),
        None => Cow::Owned(AppSettings::default()),
    }
}
