//! Applies session events and token reports: loads the devices they touch under a lock, lets the rules of
//! [`crate::domain::devices`] change them, writes them back, and cancels what may no longer be sent. One transaction.

mod badges;
mod follow_up;
pub mod ingest;
mod reading;
mod replacing;
mod rescue;
pub mod walk;

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use self::follow_up::{Noted, follow_up};
use crate::clock::Clock;
use crate::directory::{Directory, Snapshot};
use crate::dispatcher::Dispatcher;
use crate::domain::devices::{DeviceKey, Devices};
use crate::domain::routing::{self, Candidate, SkipReason};
use crate::domain::session::{Applied, Device, Event, EventType, Platform, ReportedToken};
use crate::store::apps::App;
use crate::store::devices::{LIVE_TOKEN, Touched};
use crate::store::line::{WORK_LIMIT, bounded};
use crate::store::push_counts::Counted;
use crate::store::{self, Database};
use crate::telemetry;

/// How often a transaction that met another one is run again.
const MAX_TRIES: u32 = 6;

/// One change to a user's devices.
#[derive(Debug)]
pub enum Change {
    Event(Event),
    Report {
        user_id: String,
        device_id: String,
        platform: Platform,
        token: ReportedToken,
    },
    Unbind {
        user_id: String,
        device_id: String,
    },
    /// Nothing happened, but time went by.
    Lapse {
        user_id: String,
        device_id: String,
    },
}

/// What a change came to.
#[derive(Debug)]
pub enum Changed {
    Event(Applied),
    Reported {
        pending: bool,
        device: Device,
    },
    /// False: there was no binding to take away.
    Unbound(bool),
    Lapsed,
}

/// Applies changes in their order: all of them, or none when the database fails. When it returns, this instance starts no
/// vendor call that they forbid.
/// # Errors
/// Database errors.
pub async fn apply(
    database: &Database,
    directory: &Directory,
    dispatcher: &Dispatcher,
    clock: &Clock,
    app: &App,
    changes: &[Change],
) -> sqlx::Result<Vec<Changed>> {
    let mut tries = 0;
    // Two changes of a batch that swap tokens cannot be written by one statement: then each is written by itself.
    let mut step = changes.len().max(1);
    loop {
        let snapshot = directory.snapshot().clone();
        let context = Context { app, snapshot: &snapshot, now: clock.now() };
        match bounded(WORK_LIMIT, try_apply(database, &context, changes, step)).await {
            Ok(Done { results, revoked, rescued, counted }) => {
                badges::count(database, counted).await;
                for (change, changed) in changes.iter().zip(&results) {
                    if let (Change::Event(event), Changed::Event(result)) = (change, changed) {
                        telemetry::metrics::session_event(event.kind, result);
                    }
                }
                if rescued > 0 {
                    dispatcher.sweep_soon();
                }
                for (user_id, device_id) in &revoked {
                    dispatcher.revocations().add(app.app_id, user_id, device_id);
                }
                for event in changes.iter().zip(&results).filter_map(applied) {
                    if let (EventType::Read, Some(conversation_id)) = (event.kind, &event.conversation_id) {
                        let read_at = event.event_time.min(clock.now());
                        dispatcher.read_marks().add(app.app_id, &event.user_id, conversation_id, read_at);
                    }
                }
                for (user_id, device_id) in changes.iter().filter_map(reported) {
                    dispatcher.reported().add(app.app_id, user_id, device_id);
                }
                return Ok(results);
            }
            Err(error) if tries < MAX_TRIES && store::violates(&error, LIVE_TOKEN) => {
                tries += 1;
                step = 1;
            }
            Err(error) if tries < MAX_TRIES && store::is_transient(&error) => tries += 1,
            Err(error) => return Err(error),
        }
        tokio::time::sleep(std::time::Duration::from_millis(u64::from(rand::random::<u8>() % 20))).await;
    }
}

/// The device whose token a change reports.
fn reported(change: &Change) -> Option<(&str, &str)> {
    match change {
        Change::Report { user_id, device_id, .. } => Some((user_id, device_id)),
        Change::Event(event) if event.token.is_some() => Some((&event.user_id, &event.device_id)),
        _ => None,
    }
}

/// What a transaction goes by.
struct Context<'a> {
    app: &'a App,
    snapshot: &'a Arc<Snapshot>,
    now: DateTime<Utc>,
}

/// What a transaction came to.
struct Done {
    results: Vec<Changed>,
    revoked: Vec<DeviceKey>,
    /// Deliveries made.
    rescued: usize,
    /// What is to be counted for the badges of these.
    counted: Vec<Counted>,
}

async fn try_apply(database: &Database, context: &Context<'_>, changes: &[Change], step: usize) -> sqlx::Result<Done> {
    let Context { app, now, .. } = *context;
    let mut transaction = database.sessions.begin().await?;
    let mut results = Vec::with_capacity(changes.len());
    let mut all_revoked = Vec::new();
    let (mut cancelled, mut noted) = (0, Noted::default());
    for part in changes.chunks(step) {
        let rows = store::devices::lock_touched(&mut transaction, app.app_id, &touched(part, app)).await?;
        let mut devices = Devices::new(rows, now, &app.settings);
        for change in part {
            results.push(apply_one(&mut devices, change));
        }
        write(&mut transaction, app, &devices).await?;
        cancelled += cancel_waiting(&mut transaction, app, &devices, now).await?;
        let applied = part.iter().zip(&results[results.len() - part.len()..]).filter_map(applied);
        noted.note(context, &devices, applied);
        all_revoked.extend(devices.revoked().cloned());
    }
    let events: Vec<&Event> = changes.iter().zip(&results).filter_map(applied).collect();
    let followed = follow_up(&mut transaction, context, noted, &events).await?;
    transaction.commit().await?;
    telemetry::metrics::cancelled_waiting(cancelled + followed.cancelled);
    telemetry::metrics::rescued(followed.rescued);
    Ok(Done { results, revoked: all_revoked, rescued: followed.rescued, counted: followed.counted })
}

/// The event of a change, if it was applied.
fn applied<'a>((change, changed): (&'a Change, &Changed)) -> Option<&'a Event> {
    match (change, changed) {
        (Change::Event(event), Changed::Event(Applied::Applied)) => Some(event),
        _ => None,
    }
}

/// Writes what changed, and forgets what is gone.
async fn write(transaction: &mut sqlx::PgConnection, app: &App, devices: &Devices<'_>) -> sqlx::Result<()> {
    store::devices::write_back(&mut *transaction, app.app_id, devices.changed()).await?;
    let (users, device_ids): (Vec<&str>, Vec<&str>) =
        devices.deleted().map(|(user_id, device_id)| (user_id.as_str(), device_id.as_str())).unzip();
    if users.is_empty() {
        return Ok(());
    }
    store::devices::delete(&mut *transaction, app.app_id, &users, &device_ids).await
}

fn apply_one(devices: &mut Devices<'_>, change: &Change) -> Changed {
    match change {
        Change::Event(event) => Changed::Event(devices.apply(event)),
        Change::Report { user_id, device_id, platform, token } => {
            let (pending, device) = devices.report_token(user_id, device_id, *platform, token);
            Changed::Reported { pending, device }
        }
        Change::Unbind { user_id, device_id } => Changed::Unbound(devices.unbind(user_id, device_id)),
        // Seen to when the row was loaded.
        Change::Lapse { .. } => Changed::Lapsed,
    }
}

fn touched(changes: &[Change], app: &App) -> Touched {
    let mut touched = Touched::default();
    for change in changes {
        match change {
            Change::Event(event) => touch_by_event(&mut touched, event, app),
            Change::Report { user_id, device_id, platform, token } => {
                touched.devices.push((user_id.clone(), device_id.clone(), *platform, true));
                touched.tokens.push((token.vendor, token.token.clone()));
            }
            Change::Unbind { user_id, device_id } | Change::Lapse { user_id, device_id } => {
                touched.devices.push((user_id.clone(), device_id.clone(), Platform::Android, false));
            }
        }
    }
    touched
}

fn touch_by_event(touched: &mut Touched, event: &Event, app: &App) {
    let is_login = matches!(event.kind, EventType::Login | EventType::Reconnect);
    let is_made = match event.kind {
        EventType::Login | EventType::Logout | EventType::Disconnect | EventType::TokenReport => true,
        EventType::Kicked => !event.kicks_others(),
        _ => false,
    };
    touched.devices.push((event.user_id.clone(), event.device_id.clone(), event.platform, is_made));
    for kicked in &event.kicked_devices {
        touched.devices.push((event.user_id.clone(), kicked.clone(), event.platform, false));
    }
    let concerns_user = match event.kind {
        EventType::Login | EventType::Reconnect => app.settings.kick.enforce,
        EventType::Kicked => !event.kicked_platforms.is_empty(),
        EventType::Read => event.unread.is_some(),
        EventType::UserDeleted => true,
        _ => false,
    };
    if concerns_user {
        touched.users.push(event.user_id.clone());
        // A count concerns every device alike, whoever comes first.
        if app.settings.kick.enforce && event.kind != EventType::Read {
            touched.one_at_a_time.push(event.user_id.clone());
        }
    }
    if is_login {
        touched.logins.push((event.device_id.clone(), event.event_time));
    }
    touched.tokens.extend(event.token.iter().map(|token| (token.vendor, token.token.clone())));
}

/// Cancels what waits in the database for devices that lost their right, each with the reason routing gives now. What
/// lanes hold is judged again before it is sent.
async fn cancel_waiting(
    transaction: &mut sqlx::PgConnection,
    app: &App,
    devices: &Devices<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let mut reasons: HashMap<&DeviceKey, &'static str> = HashMap::new();
    for key in devices.revoked() {
        let Some(device) = devices.get(&key.0, &key.1) else {
            reasons.insert(key, SkipReason::NoDevice.as_str());
            continue;
        };
        let candidate =
            Candidate { device_id: &device.device_id, session: device.session(), binding: device.binding_status() };
        if let Some(reason) = routing::by_device(&candidate, &app.settings, now) {
            reasons.insert(key, reason.as_str());
        }
    }
    if reasons.is_empty() {
        return Ok(0);
    }
    let users: Vec<&str> = reasons.keys().map(|key| key.0.as_str()).collect();
    let device_ids: Vec<&str> = reasons.keys().map(|key| key.1.as_str()).collect();
    let reasons: Vec<&str> = reasons.values().copied().collect();
    store::deliveries::cancel_of_devices(transaction, app.app_id, &users, &device_ids, &reasons, now).await
}
