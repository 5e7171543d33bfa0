//! Routing applied to one request: which devices get a delivery, and who gets none and why.

use std::collections::HashSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::{NewNotification, Recipient, Skipped};
use crate::directory::{Entry, Snapshot};
use crate::domain::app::{AppSettings, BadgeSource};
use crate::domain::burst::TextVariant;
use crate::domain::id::CertificateId;
use crate::domain::preferences::{Notify, Preferences};
use crate::domain::routing::{Decision, SkipReason, User, Wishes, decide};
use crate::store::notifications::RoutedDevice;

/// A device that gets a delivery.
#[derive(Debug, Clone)]
pub struct Chosen {
    pub certificate_id: CertificateId,
    pub user_id: String,
    pub device_id: String,
    pub token: String,
    pub badge: Option<i32>,
    /// Its badge is the last reported `unread` and the pushes since, which are still to be counted.
    pub counts_badge: bool,
    pub variant: TextVariant,
    /// Something older waits in the database for the user, which it may replace.
    pub has_waiting: bool,
}

/// What became of one device, or of a user as a whole.
#[derive(Debug)]
pub enum Choice {
    Push(Chosen),
    Skip(Skipped),
}

/// Decides for every device of every recipient; `devices` are those of each recipient, in their order.
pub fn choose(
    new: &NewNotification,
    devices: Vec<Vec<RoutedDevice>>,
    settings: &AppSettings,
    snapshot: &Snapshot,
    now: DateTime<Utc>,
) -> Vec<Choice> {
    let wishes = Wishes {
        never: new.is_never(),
        sender_id: new.sender_id.as_deref(),
        sender_device_id: new.sender_device_id.as_deref(),
        sync: new.sync,
        only_devices: &new.only_devices,
        exclude_devices: &new.exclude_devices,
        force: new.content.force,
    };
    let mentioned: HashSet<&str> = new.mentions.iter().map(String::as_str).collect();
    let mut choices = Vec::with_capacity(new.to.len());
    for (recipient, of_user) in new.to.iter().zip(devices) {
        let user_id = &recipient.user_id;
        let preferences = of_user.first().and_then(RoutedDevice::preferences);
        let is_mentioned = mentioned.contains(user_id.as_str());
        let notify = notify(new.content.conversation_id.as_deref(), of_user.first(), preferences.as_ref());
        let user = User { user_id, preferences: preferences.as_ref(), notify, is_mentioned };
        let skip = |device_id, reason| Choice::Skip(Skipped { user_id: user_id.clone(), device_id, reason });
        let candidates: Vec<_> = of_user.iter().map(RoutedDevice::candidate).collect();
        let decisions = match decide(&user, &candidates, &wishes, settings, now) {
            Decision::Nobody(reason) => {
                choices.push(skip(None, reason));
                continue;
            }
            Decision::Each(decisions) => decisions,
        };
        let hides = preferences.as_ref().is_some_and(|preferences| preferences.hide_content);
        for (device, decision) in of_user.into_iter().zip(decisions) {
            let certificate =
                device.certificate_id.map(CertificateId).and_then(|id| snapshot.certificate_of(new.app_id, id));
            choices.push(match (decision, certificate, device.token.is_some()) {
                (Some(reason), ..) => skip(Some(device.device_id), reason),
                (None, Some(entry), true) => Choice::Push(chosen(recipient, device, entry, settings, hides)),
                _ => skip(Some(device.device_id), SkipReason::CertificateMissing),
            });
        }
    }
    choices
}

fn chosen(
    recipient: &Recipient,
    device: RoutedDevice,
    entry: &Arc<Entry>,
    settings: &AppSettings,
    hides: bool,
) -> Chosen {
    // Deliveries with different badges cannot share a call, so a badge is kept only where it is sent.
    let uses_badge = entry.uses_badge();
    let badge = match settings.badge {
        BadgeSource::Caller => recipient.badge.or(device.unread),
        BadgeSource::Server => Some(device.unread.unwrap_or(0)),
        BadgeSource::None => None,
    };
    Chosen {
        certificate_id: entry.certificate.certificate_id,
        user_id: recipient.user_id.clone(),
        device_id: device.device_id,
        token: device.token.unwrap_or_default(),
        badge: badge.filter(|_| uses_badge),
        counts_badge: uses_badge && settings.badge == BadgeSource::Server,
        variant: if hides { TextVariant::Hidden } else { TextVariant::Own },
        has_waiting: device.has_waiting,
    }
}

fn notify(conversation_id: Option<&str>, device: Option<&RoutedDevice>, preferences: Option<&Preferences>) -> Notify {
    if conversation_id.is_none() {
        return Notify::All;
    }
    let own = device.and_then(|device| device.notify);
    own.or(preferences.map(|preferences| preferences.notify)).unwrap_or_default()
}
