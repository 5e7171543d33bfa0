//! The client: one thread with all connections. What it costs is measured with this process.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::task::LocalSet;

use super::Fallible;
use super::pacer::Pacer;
use super::script::Script;
use super::tally::{Numbers, Tally, Window};
use super::wire::{Answer, Wire, head};
use crate::clock::Clock;

/// How long a connection waits after the server refused, or was not there.
const PAUSE: Duration = Duration::from_millis(10);
/// How long answers are waited for when the time is over.
const LAST_ANSWERS: Duration = Duration::from_secs(30);

/// What is to be posted, where, when, and over how many connections.
pub(super) struct Order {
    pub(super) address: SocketAddr,
    pub(super) key: String,
    pub(super) connections: u32,
    /// Requests a second; `None`: each connection posts when it was answered.
    pub(super) pace: Option<u32>,
    pub(super) begin: Instant,
    pub(super) window: Window,
    pub(super) clock: Clock,
}

/// A running client.
pub(super) struct Generator {
    numbers: oneshot::Receiver<Fallible<Numbers>>,
    units: Arc<AtomicU64>,
}

impl Generator {
    /// Starts posting.
    pub(super) fn start(order: Order, script: Script) -> Fallible<Self> {
        let (answer, numbers) = oneshot::channel();
        let units = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&units);
        std::thread::Builder::new().name("generator".to_owned()).spawn(move || {
            let _nobody_waits = answer.send(run(order, script, &counted));
        })?;
        Ok(Self { numbers, units })
    }

    /// Deliveries accepted, or events applied, so far.
    pub(super) fn units(&self) -> u64 {
        self.units.load(Ordering::Relaxed)
    }

    /// What the client saw, when its time is over.
    pub(super) async fn finish(self) -> Fallible<Numbers> {
        self.numbers.await.map_err(|_| "the client's thread ended early")?
    }
}

/// What the connections of the thread share.
struct Client {
    order: Order,
    script: RefCell<Script>,
    tally: Tally,
    pacer: Option<Pacer>,
    units: Arc<AtomicU64>,
}

fn run(order: Order, script: Script, units: &Arc<AtomicU64>) -> Fallible<Numbers> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    local.block_on(&runtime, drive(order, script, Arc::clone(units)))
}

async fn drive(order: Order, script: Script, units: Arc<AtomicU64>) -> Fallible<Numbers> {
    let tally = Tally::new(order.window)?;
    let pacer = order.pace.map(|rate| Pacer::start(rate, order.begin, order.window.until)).transpose()?;
    let head = head(order.address, &script.path(), &order.key);
    let client = Rc::new(Client { order, script: RefCell::new(script), tally, pacer, units });
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..client.order.connections {
        let (client, head) = (Rc::clone(&client), Arc::clone(&head));
        tasks.spawn_local(async move { client.connection(&head).await });
    }
    let deadline = tokio::time::Instant::from_std(client.order.window.until + LAST_ANSWERS);
    let ended = tokio::time::timeout_at(deadline, async { while tasks.join_next().await.is_some() {} }).await;
    if ended.is_err() {
        for _ in 0..tasks.len() {
            client.tally.broken();
        }
        tasks.shutdown().await;
    }
    if let Some(pacer) = &client.pacer {
        client.tally.late(pacer.left());
    }
    let client = Rc::into_inner(client).ok_or("a connection of the client goes on")?;
    Ok(client.tally.into_numbers())
}

impl Client {
    /// One connection, until the time is over.
    async fn connection(&self, head: &Arc<[u8]>) {
        let mut wire = None;
        let mut body = Vec::new();
        tokio::time::sleep_until(tokio::time::Instant::from_std(self.order.begin)).await;
        loop {
            let due = match &self.pacer {
                Some(pacer) => pacer.next().await,
                None => Some(Instant::now()).filter(|now| *now < self.order.window.until),
            };
            let Some(due) = due else { return };
            self.script.borrow_mut().next(&mut body, self.order.clock.now_ms());
            let posted = self.post(&mut wire, head, &body, due).await;
            if posted.is_err() {
                self.tally.broken();
                wire = None;
            }
            if !posted.unwrap_or(false) {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Posts once; false when the server refused.
    async fn post(
        &self,
        wire: &mut Option<Wire>,
        head: &Arc<[u8]>,
        body: &[u8],
        due: Instant,
    ) -> std::io::Result<bool> {
        let wire = match wire {
            Some(wire) => wire,
            None => wire.insert(Wire::connect(self.order.address, Arc::clone(head)).await?),
        };
        let Answer { status, body } = wire.post(body).await?;
        let at = Instant::now();
        if (200..300).contains(&status) {
            let gain = self.script.borrow().gain(body);
            self.tally.answered(due, at, gain);
            self.units.store(self.tally.units_in_all(), Ordering::Relaxed);
            Ok(true)
        } else {
            self.tally.refused();
            Ok(false)
        }
    }
}
