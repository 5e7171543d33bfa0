//! The raw sender: the same adapters, requests, connections and stand-ins as the server's, and nothing else. No store, no API,
//! no lanes. What the machine can send at most, in the same run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::json;
use sqlx::PgConnection;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::Fallible;
use super::home::Home;
use super::mix::{Mix, token};
use super::options::LoadtestArgs;
use super::process::{own_us, self_us};
use super::programs::Variables;
use super::report::{per_unit, rate};
use super::script::{APP, BODY, TITLE, conversation};
use crate::clock::Clock;
use crate::config::Settings;
use crate::domain::id::NotificationIds;
use crate::domain::notification::{Content, Notification};
use crate::secrets::Sealer;
use crate::store;
use crate::vendor::outcome::Reason;
use crate::vendor::registry::Registry;
use crate::vendor::{Clearance, Push, Target, Vendor};

/// What is sent before anything is counted.
const WARM_UP: Duration = Duration::from_secs(1);

/// What the raw sender did.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Raw {
    /// Pushes that the vendor accepted, a second.
    pub(super) rate: f64,
    /// Processor time of a push, in microseconds: of the sender.
    pub(super) client_cpu_us: Option<f64>,
    /// The same of the stand-in.
    pub(super) simulator_cpu_us: Option<f64>,
    /// Calls in flight at the same time, of all vendors.
    pub(super) in_flight: usize,
    pub(super) seconds: f64,
    /// Pushes that the vendor did not accept, in the same time.
    pub(super) failed: u64,
}

/// Sends for one vendor.
struct Lane {
    vendor: Arc<dyn Vendor>,
    slots: Arc<Semaphore>,
    /// Devices of a call.
    batch: u32,
}

/// Everything the calls share.
struct Sender {
    lanes: Vec<Lane>,
    mix: Mix,
    devices: u64,
    content: Content,
    ids: NotificationIds,
    clock: Clock,
    accepted: AtomicU64,
    failed: AtomicU64,
}

/// Makes the adapters from the certificates in the database, as the server does.
async fn lanes(
    db: &mut PgConnection,
    home: &Home,
    settings: &Settings,
    args: &LoadtestArgs,
    mix: &Mix,
) -> Fallible<Vec<Lane>> {
    let sealer = Sealer::new(&home.master_key()?.into())?;
    let registry = Registry::new(&settings.vendors, Clock::from_wall())?;
    let stored = store::certificates::load_all(&mut *db).await?;
    let mut lanes = Vec::new();
    for (index, (_, id)) in mix.certificates().enumerate() {
        let certificate = stored.iter().find(|certificate| certificate.certificate_id == id);
        let vendor = registry.build(certificate.ok_or("a certificate is not stored")?, &sealer)?;
        let slots = vendor.slots().unwrap_or_else(|| Arc::new(Semaphore::new(settings.dispatch.calls_in_flight)));
        let batch = mix.part(args.profile.size().into(), index).min(vendor.limits().batch as u64);
        let batch = u32::try_from(batch)?;
        lanes.push(Lane { vendor, slots, batch });
    }
    Ok(lanes)
}

/// Sends for so long, after a warm-up.
pub(super) async fn send(
    db: &mut PgConnection,
    home: &Home,
    variables: &Variables,
    args: &LoadtestArgs,
    simulator: i32,
    time: Duration,
) -> Fallible<Raw> {
    let settings = Settings::read(None, variables.clone())?;
    let mix = args.shares();
    let lanes = lanes(db, home, &settings, args, &mix).await?;
    let in_flight = lanes.iter().map(|lane| lane.slots.available_permits()).sum();
    let content = json!({"title": TITLE, "body": BODY, "ttl_s": 86_400});
    let sender = Arc::new(Sender {
        lanes,
        mix,
        devices: args.devices.into(),
        content: serde_json::from_value(content)?,
        ids: NotificationIds::default(),
        clock: Clock::from_wall(),
        accepted: AtomicU64::new(0),
        failed: AtomicU64::new(0),
    });
    let calls = TaskTracker::new();
    let pump = tokio::spawn(pump(Arc::clone(&sender), calls.clone()));
    tokio::time::sleep(WARM_UP).await;
    let before = Reading::take(&sender, simulator);
    let begin = Instant::now();
    tokio::time::sleep(time).await;
    let seconds = begin.elapsed().as_secs_f64();
    let after = Reading::take(&sender, simulator);
    pump.abort();
    drop(pump.await);
    // Nothing of it may run while the server is measured.
    calls.close();
    calls.wait().await;
    let sent = after.accepted - before.accepted;
    Ok(Raw {
        rate: rate(sent, seconds),
        client_cpu_us: per_unit(before.client_us, after.client_us, sent),
        simulator_cpu_us: per_unit(before.simulator_us, after.simulator_us, sent),
        in_flight,
        seconds,
        failed: after.failed - before.failed,
    })
}

struct Reading {
    accepted: u64,
    failed: u64,
    client_us: Option<u64>,
    simulator_us: Option<u64>,
}

impl Reading {
    fn take(sender: &Sender, simulator: i32) -> Self {
        let accepted = sender.accepted.load(Ordering::Relaxed);
        let failed = sender.failed.load(Ordering::Relaxed);
        Self { accepted, failed, client_us: self_us(), simulator_us: own_us(simulator) }
    }
}

/// Starts calls, as many at a time as there are slots.
async fn pump(sender: Arc<Sender>, calls: TaskTracker) {
    let mut number = 0;
    loop {
        let index = sender.mix.turn(number);
        number += 1;
        let Some(lane) = sender.lanes.get(index) else { return };
        let Ok(slot) = Arc::clone(&lane.slots).acquire_owned().await else { return };
        let sender = Arc::clone(&sender);
        calls.spawn(async move {
            sender.call(index).await;
            drop(slot);
        });
    }
}

impl Sender {
    /// One call, as an attempt of the server makes it.
    async fn call(&self, index: usize) {
        let Some(lane) = self.lanes.get(index) else { return };
        let notification_id = self.ids.next(self.clock.now_ms());
        let conversation = conversation();
        let data = std::iter::once(("cid".to_owned(), conversation.clone().into())).collect();
        let content = Content { conversation_id: Some(conversation), data: Some(data), ..self.content.clone() };
        let notification = Arc::new(Notification { notification_id, app_id: APP, content });
        let time_to_live = Duration::from_secs(self.content.ttl_s.into());
        let mut push = Push::of(&notification, None, notification.expires_at(), time_to_live, Clearance::given());
        lane.vendor.fit(&mut push);
        let target = |number| Target {
            delivery_id: notification_id.delivery(number),
            token: token(lane.vendor.kind(), rand::random_range(1..=self.devices)),
        };
        let targets: Vec<Target> = (1..=lane.batch).map(target).collect();
        let outcomes = lane.vendor.send(&push, &targets).await;
        let accepted = outcomes.iter().filter(|outcome| outcome.reason == Reason::Accepted).count() as u64;
        self.accepted.fetch_add(accepted, Ordering::Relaxed);
        self.failed.fetch_add(targets.len() as u64 - accepted, Ordering::Relaxed);
    }
}
