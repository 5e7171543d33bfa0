//! Applies session events and token reports: loads the devices they touch under a lock, lets the rules of
//! [`crate::domain::devices`] change them, writes them back, and cancels what may no longer be sent. One transaction.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};

use crate::clock::Clock;
use crate::dispatcher::Dispatcher;
use crate::domain::devices::{DeviceKey, Devices};
use crate::domain::routing::{Candidate, Wishes, decide};
use crate::domain::session::{Applied, Device, Event, EventType, Platform, ReportedToken};
use crate::store::apps::App;
use crate::store::devices::{LIVE_TOKEN, Touched};
use crate::store::line::{WORK_LIMIT, bounded};
use crate::store::{self, Database};
use crate::telemetry;

/// How often a transaction that met another one is run again.
const MAX_TRIES: u32 = 6;

/// One change to a user's devices.
#[derive(Debug)]
pub enum Change {
    Event(Event),
    Report { user_id: String, device_id: String, platform: Platform, token: ReportedToken },
    Unbind { user_id: String, device_id: String },
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
}

/// Applies changes in their order: all of them, or none when the database fails. When it returns, this instance starts no
/// vendor call that they forbid.
/// # Errors
/// Database errors.
pub async fn apply(
    database: &Database,
    dispatcher: &Dispatcher,
    clock: &Clock,
    app: &App,
    changes: &[Change],
) -> sqlx::Result<Vec<Changed>> {
    let mut tries = 0;
    // Two changes of a batch that swap tokens cannot be written by one statement: then each is written by itself.
    let mut step = changes.len().max(1);
    loop {
        match bounded(WORK_LIMIT, try_apply(database, clock, app, changes, step)).await {
            Ok((results, revoked)) => {
                for (user_id, device_id) in &revoked {
                    dispatcher.revocations().add(app.app_id, user_id, device_id);
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

async fn try_apply(
    database: &Database,
    clock: &Clock,
    app: &App,
    changes: &[Change],
    step: usize,
) -> sqlx::Result<(Vec<Changed>, Vec<DeviceKey>)> {
    let now = clock.now();
    let mut transaction = database.sessions.begin().await?;
    let mut results = Vec::with_capacity(changes.len());
    let mut all_revoked = Vec::new();
    let mut cancelled = 0;
    for part in changes.chunks(step) {
        let rows = store::devices::lock_touched(&mut transaction, app.app_id, &touched(part)).await?;
        let mut devices = Devices::new(rows);
        for change in part {
            results.push(apply_one(&mut devices, change, now, app));
        }
        store::devices::write_back(&mut transaction, app.app_id, devices.changed()).await?;
        cancelled += cancel_waiting(&mut transaction, app, &devices, now).await?;
        all_revoked.extend(devices.revoked().cloned());
    }
    transaction.commit().await?;
    telemetry::metrics::cancelled_waiting(cancelled);
    Ok((results, all_revoked))
}

fn apply_one(devices: &mut Devices, change: &Change, now: DateTime<Utc>, app: &App) -> Changed {
    match change {
        Change::Event(event) => {
            let pending_for = TimeDelta::seconds(i64::from(app.settings.pending_binding_s));
            Changed::Event(devices.apply(event, now, pending_for))
        }
        Change::Report { user_id, device_id, platform, token } => {
            let (pending, device) = devices.report_token(user_id, device_id, *platform, token, now);
            Changed::Reported { pending, device }
        }
        Change::Unbind { user_id, device_id } => Changed::Unbound(devices.unbind(user_id, device_id)),
    }
}

fn touched(changes: &[Change]) -> Touched {
    let mut touched = Touched::default();
    for change in changes {
        match change {
            Change::Event(event) => {
                let is_login = event.kind == EventType::Login;
                let device = event.device_id.clone();
                touched.devices.push((event.user_id.clone(), device, event.platform, is_login));
                for kicked in &event.kicked_devices {
                    touched.devices.push((event.user_id.clone(), kicked.clone(), event.platform, false));
                }
                if is_login {
                    touched.logins.push(event.device_id.clone());
                }
                touched.tokens.extend(event.token.iter().map(|token| (token.vendor, token.token.clone())));
            }
            Change::Report { user_id, device_id, platform, token } => {
                touched.devices.push((user_id.clone(), device_id.clone(), *platform, true));
                touched.tokens.push((token.vendor, token.token.clone()));
            }
            Change::Unbind { user_id, device_id } => {
                touched.devices.push((user_id.clone(), device_id.clone(), Platform::Android, false));
            }
        }
    }
    touched
}

/// Cancels what waits in the database for devices that lost their right, each with the reason routing gives now. What
/// lanes hold is judged again before it is sent.
async fn cancel_waiting(
    transaction: &mut sqlx::PgConnection,
    app: &App,
    devices: &Devices,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let mut reasons: HashMap<&DeviceKey, &'static str> = HashMap::new();
    for key in devices.revoked() {
        let Some(device) = devices.get(&key.0, &key.1) else { continue };
        let candidate = Candidate {
            user_id: &device.user_id,
            device_id: &device.device_id,
            platform: device.platform,
            state: device.state,
            binding: device.binding.as_ref().map(|binding| binding.status),
        };
        if let Some(reason) = decide(&candidate, &Wishes::default(), &app.settings) {
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
