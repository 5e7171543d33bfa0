//! Links died without a word: messages that were handed to them and that nobody confirmed are pushed after all.
//!
//! They were posted while the app was open, so they were skipped. The chat server names them with the disconnect; each is pushed
//! once, however often that is told. All disconnects of a transaction share its statements.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::Context;
use super::badges::Badges;
use super::follow_up::Noted;
use super::replacing::Rivals;
use crate::domain::burst::TextVariant;
use crate::domain::id::NotificationId;
use crate::domain::notification::{Content, Notification};
use crate::domain::routing::{Candidate, by_device};
use crate::domain::session::{Binding, Device, Event, MessageKey};
use crate::domain::skip::CancelReason;
use crate::store;
use crate::store::push_counts::Counted;
use crate::store::rescues::{self, Asked, Rescued};

/// The clocks of two servers differ by less.
const CLOCKS_DIFFER: TimeDelta = TimeDelta::minutes(1);

/// What rescuing came to.
#[derive(Debug, Default)]
pub(super) struct Saved {
    /// Deliveries made.
    pub(super) deliveries: usize,
    /// Deliveries that newer ones replaced.
    pub(super) cancelled: u64,
    /// What is to be counted for badges, once the deliveries are committed.
    pub(super) counted: Vec<Counted>,
}

/// A device whose link died, and its binding.
type Lost<'a> = (&'a Device, &'a Binding);

/// Makes deliveries of what these events say was missed.
pub(super) async fn rescue(
    transaction: &mut PgConnection,
    context: &Context<'_>,
    noted: &Noted,
    events: &[&Event],
) -> sqlx::Result<Saved> {
    let (app, now) = (context.app, context.now);
    let window = app.settings.rescue_window();
    let lost: Vec<(Lost<'_>, &Event)> =
        events.iter().filter_map(|event| Some((lost(context, noted, event)?, *event))).collect();
    if lost.is_empty() || window.is_zero() {
        return Ok(Saved::default());
    }
    let asked = asked(&mut *transaction, context, &lost, now - window).await?;
    if asked.is_empty() {
        return Ok(Saved::default());
    }
    rescues::take_turns(&mut *transaction, &notifications(&asked)).await?;
    let since = now - window - CLOCKS_DIFFER;
    let missed = rescues::missed(&mut *transaction, &asked, since).await?;
    let contents = contents(&mut *transaction, &missed).await?;
    let is_in_time = |one: &Asked<'_>| contents.get(&one.notification_id).is_some_and(|of| of.expires_at() > now);
    let missed: Vec<Asked<'_>> = missed.into_iter().filter(is_in_time).collect();
    if missed.is_empty() {
        return Ok(Saved::default());
    }
    let rivals = Rivals::of(&mut *transaction, app.app_id, &missed, since).await?;
    let superseded = rivals.superseded(&missed);
    let replaced = rivals.replaced(&missed);
    let mut saved = Saved { cancelled: superseded.len() as u64, ..Saved::default() };
    if !replaced.is_empty() {
        saved.cancelled +=
            store::deliveries::cancel(&mut *transaction, &replaced, CancelReason::SupersededByNewer, now).await?;
    }
    let lost: HashMap<(&str, &str), Lost<'_>> =
        lost.into_iter().map(|(lost, _)| ((&*lost.0.user_id, &*lost.0.device_id), lost)).collect();
    let targets: Vec<&Device> = lost.values().map(|(device, _)| *device).collect();
    let mut badges = Badges::of(&mut *transaction, app, context.snapshot, &targets, &noted.anew).await?;
    let users: BTreeSet<&str> = missed.iter().map(|one| one.user_id).collect();
    let users: Vec<&str> = users.into_iter().collect();
    let preferences = store::preferences::of_users(&mut *transaction, app.app_id, &users).await?;
    let mut numbers = rescues::last_numbers(&mut *transaction, &notifications(&missed), since).await?;
    let mut made = Vec::with_capacity(missed.len());
    for one in missed {
        let Some((device, binding)) = lost.get(&(one.user_id, one.device_id)) else { continue };
        let Some(notification) = contents.get(&one.notification_id) else { continue };
        let number = numbers.entry(one.notification_id).or_default();
        *number += 1;
        let is_superseded = superseded.contains(&one);
        let hides = preferences.get(one.user_id).is_some_and(|preferences| preferences.hide_content);
        made.push(Rescued {
            delivery_id: one.notification_id.delivery(*number),
            user_id: one.user_id,
            device_id: one.device_id,
            certificate_id: binding.certificate_id,
            token: &binding.token,
            expires_at: notification.expires_at(),
            badge: if is_superseded { None } else { badges.next(device, binding, &notification.content) },
            priority: notification.content.priority,
            variant: if hides { TextVariant::Hidden } else { TextVariant::Own },
            collapse: notification.collapse_digest(),
            is_superseded,
        });
    }
    rescues::insert(&mut *transaction, app.app_id, &made, now).await?;
    saved.deliveries = made.iter().filter(|one| !one.is_superseded).count();
    saved.counted = badges.into_counted();
    Ok(saved)
}

/// The device of an event, if a push may go to it now.
fn lost<'a>(context: &Context<'_>, noted: &'a Noted, event: &Event) -> Option<Lost<'a>> {
    if event.unacked.is_empty() {
        return None;
    }
    let device = noted.lost.get(&(event.user_id.clone(), event.device_id.clone()))?;
    let candidate =
        Candidate { device_id: &device.device_id, session: device.session(), binding: device.binding_status() };
    let binding = device.binding.as_ref()?;
    by_device(&candidate, &context.app.settings, context.now).is_none().then_some((device, binding))
}

/// What the messages of these events became, with the devices that did not confirm them: each once, in the order of age.
async fn asked<'a>(
    transaction: &mut PgConnection,
    context: &Context<'_>,
    lost: &[(Lost<'a>, &Event)],
    since: DateTime<Utc>,
) -> sqlx::Result<Vec<Asked<'a>>> {
    let messages: Vec<(&'a Device, &MessageKey)> =
        lost.iter().flat_map(|((device, _), event)| event.unacked.iter().map(|message| (*device, message))).collect();
    let keys: Vec<&MessageKey> = messages.iter().map(|(_, message)| *message).collect();
    let known = rescues::known(transaction, context.app.app_id, &keys).await?;
    let asked: BTreeSet<Asked<'a>> = known
        .into_iter()
        .filter(|(_, notification_id)| notification_id.accepted_at() >= since)
        .filter_map(|(index, notification_id)| {
            let (device, _) = messages.get(index)?;
            Some(Asked { notification_id, user_id: &device.user_id, device_id: &device.device_id })
        })
        .collect();
    Ok(asked.into_iter().collect())
}

/// The notifications asked about, each once.
fn notifications(asked: &[Asked<'_>]) -> Vec<NotificationId> {
    let mut ids: Vec<NotificationId> = asked.iter().map(|one| one.notification_id).collect();
    ids.dedup();
    ids
}

async fn contents(
    transaction: &mut PgConnection,
    missed: &[Asked<'_>],
) -> sqlx::Result<HashMap<NotificationId, Notification>> {
    let ids: Vec<Uuid> = notifications(missed).into_iter().map(|id| id.0).collect();
    let rows = store::notifications::contents(transaction, &ids).await?;
    let read = |(notification_id, app_id, bytes): (NotificationId, _, Vec<u8>)| {
        let content: Content = serde_json::from_slice(&bytes).ok()?;
        Some((notification_id, Notification { notification_id, app_id, content }))
    };
    Ok(rows.into_iter().filter_map(read).collect())
}
