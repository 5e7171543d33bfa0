//! A link died without a word: messages that were handed to it and that nobody confirmed are pushed after all.
//!
//! They were posted while the app was open, so they were skipped. The chat server names them with the disconnect; each is pushed
//! once, however often that is told.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::domain::burst::TextVariant;
use crate::domain::id::NotificationId;
use crate::domain::notification::{Content, Notification};
use crate::domain::routing::{Candidate, by_device};
use crate::domain::session::{Device, MessageKey};
use crate::store::apps::App;
use crate::store::rescues::{self, Rescued};
use crate::store::{self};

/// Makes deliveries of what a device missed. Answers how many.
pub(super) async fn rescue(
    transaction: &mut PgConnection,
    app: &App,
    device: &Device,
    unacked: &[MessageKey],
    now: DateTime<Utc>,
) -> sqlx::Result<usize> {
    let window = app.settings.rescue_window();
    let candidate =
        Candidate { device_id: &device.device_id, session: device.session(), binding: device.binding_status() };
    let Some(binding) = device.binding.as_ref().filter(|_| by_device(&candidate, &app.settings, now).is_none()) else {
        return Ok(0);
    };
    if window.is_zero() {
        return Ok(0);
    }
    let since = now - window;
    let known = rescues::known(&mut *transaction, app.app_id, unacked).await?;
    let mut ids: Vec<_> = known.into_iter().filter(|id| id.accepted_at() >= since).map(|id| id.0).collect();
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() {
        return Ok(0);
    }
    rescues::take_turns(&mut *transaction, &ids).await?;
    let (user_id, device_id) = (&device.user_id, &device.device_id);
    let missed = rescues::missed(&mut *transaction, app.app_id, user_id, device_id, &ids, since).await?;
    let contents = store::notifications::contents(&mut *transaction, &missed).await?;
    let preferences = store::preferences::of_user(&mut *transaction, app.app_id, user_id).await?;
    let hides = preferences.is_some_and(|(preferences, _)| preferences.hide_content);
    let mut count = 0;
    for (notification_id, app_id, bytes) in contents {
        let Ok(content) = serde_json::from_slice::<Content>(&bytes) else { continue };
        let priority = content.priority;
        let notification = Notification { notification_id, app_id, content };
        let expires_at = notification.expires_at();
        if expires_at <= now {
            continue;
        }
        let last = rescues::last_number(&mut *transaction, notification_id).await?;
        let rescued = Rescued {
            delivery_id: NotificationId::delivery(notification_id, last + 1),
            app_id,
            user_id,
            device_id,
            certificate_id: binding.certificate_id,
            token: &binding.token,
            expires_at,
            badge: device.unread,
            priority,
            variant: if hides { TextVariant::Hidden } else { TextVariant::Own },
        };
        rescues::insert(&mut *transaction, &rescued, now).await?;
        count += 1;
    }
    Ok(count)
}
