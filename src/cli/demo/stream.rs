//! What happens in the little world: messages, phones that wake up and are killed again, and a vendor with bad moments.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::tally::{Posted, Tally};
use super::vendors::Vendors;
use super::world::{App, State, User, World};
use crate::clock::Clock;
use crate::simulator::{Fault, Misbehaviour, XiaomiSimulator};

/// Requests at the same time.
const MAX_IN_FLIGHT: usize = 64;
/// How often a request is made again after a 429, a 503 or a broken connection.
const MAX_TRIES: u32 = 4;
/// The largest group.
const MAX_GROUP: usize = 20;
/// Phones that have been opened and not killed again.
const MAX_OPEN_PHONES: usize = 10;
const PHONE_INTERVAL: Duration = Duration::from_millis(400);
const MISHAP_INTERVAL: Duration = Duration::from_secs(7);

const LINES: [&str; 8] = [
    "Dinner at seven?",
    "The boat leaves from pier 4.",
    "晚上一起吃饭吗？",
    "Can you send me the draft?",
    "Running ten minutes late, sorry!",
    "Look at this 🍎",
    "会议改到三点。",
    "Good night.",
];

/// What the stream works with.
#[derive(Clone)]
pub(super) struct Stream {
    pub world: Arc<World>,
    pub tally: Arc<Tally>,
    pub clock: Clock,
    pub next: Arc<AtomicU64>,
}

/// A message of the world.
struct Message<'a> {
    app: &'a App,
    id: String,
    body: Value,
    /// Posted again although it was accepted, as a client does that did not see the answer.
    is_repeated: bool,
}

impl Stream {
    /// Posts `rate` messages a second until told to stop, and waits for the answers.
    pub(super) async fn messages(self, rate: u32, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate.max(1));
        let room = Arc::new(Semaphore::new(MAX_IN_FLIGHT));
        let in_flight = TaskTracker::new();
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            if self.tally.is_full() {
                continue;
            }
            let Some(Ok(permit)) = stop.run_until_cancelled(Arc::clone(&room).acquire_owned()).await else { break };
            let stream = self.clone();
            in_flight.spawn(async move {
                stream.post_one().await;
                drop(permit);
            });
        }
        in_flight.close();
        in_flight.wait().await;
    }

    async fn post_one(&self) {
        let sent_at_ms = self.clock.now_ms();
        let Some(message) = self.compose(sent_at_ms) else { return };
        self.tally.count(|numbers| numbers.posted += 1);
        let path = format!("/v1/apps/{}/notifications", message.app.id);
        for attempt in 1..=MAX_TRIES {
            let began = Instant::now();
            match message.app.chat.post(&path, &message.body).await {
                Ok(answer) if matches!(answer.status, 200 | 202) => {
                    self.keep(&message, sent_at_ms, &answer.body, began.elapsed());
                    if message.is_repeated {
                        self.repeat(&message, &path).await;
                    }
                    return;
                }
                Ok(answer) if !matches!(answer.status, 429 | 500..) => {
                    tracing::warn!(status = answer.status, body = %answer.body, "a message was refused");
                    break;
                }
                _ => tokio::time::sleep(Duration::from_millis(100) * attempt).await,
            }
        }
        self.tally.count(|numbers| numbers.not_accepted += 1);
    }

    fn keep(&self, message: &Message<'_>, sent_at_ms: u64, answer: &Value, took: Duration) {
        let skipped = answer["skipped"].as_array().map(Vec::as_slice).unwrap_or_default();
        let id = answer["notification_id"].as_str().and_then(|id| Uuid::parse_str(id).ok());
        let posted = Posted {
            // An answer without an id is an accepted message that nobody can find: it counts as lost.
            notification_id: id.unwrap_or_default(),
            message_id: message.id.clone(),
            app_id: message.app.id,
            sent_at_ms,
            deliveries: answer["deliveries"].as_u64().unwrap_or(1),
            skipped: skipped.len() as u64,
        };
        self.tally.accepted(posted, skipped, took);
    }

    async fn repeat(&self, message: &Message<'_>, path: &str) {
        if let Ok(answer) = message.app.chat.post(path, &message.body).await
            && answer.body["replayed"] == true
        {
            self.tally.count(|numbers| numbers.replayed += 1);
        }
    }

    /// The next message: mostly single chats, some groups, now and then news, or a word to someone without a device.
    fn compose(&self, now_ms: u64) -> Option<Message<'_>> {
        let app = pick(&self.world.apps)?;
        let sender = pick(&app.users)?;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let id = format!("message-{now_ms}-{number}");
        let dice = rand::random_range(0..100);
        let recipients = match dice {
            0..25 => group(app),
            25..32 => vec![format!("guest-{}", rand::random_range(1..=50))],
            _ => vec![pick(&app.users)?.id.clone()],
        };
        let to: Vec<Value> =
            recipients.into_iter().filter(|user| *user != sender.id).map(|user| json!({"user_id": user})).collect();
        if to.is_empty() {
            return None; // someone wrote to themselves
        }
        let conversation =
            if to.len() > 1 { format!("group-{}", to.len()) } else { format!("chat-with-{}", sender.id) };
        let mut body = json!({
            "message_id": id, "to": to, "title": sender.id, "body": pick(&LINES)?, "conversation_id": conversation,
            "sender_id": sender.id, "sender_device_id": sender.device_id, "ttl_s": 3_600,
            "priority": if dice % 2 == 0 { "high" } else { "normal" },
            "data": {"message_id": id, "sent_at_ms": now_ms},
        });
        if dice >= 97 {
            body["title"] = "News".into();
            body["ttl_s"] = 120.into();
            body["offline_push_info"] = json!({"AndroidInfo": {"XiaoMiChannelID": XiaomiSimulator::NEWS_CHANNEL}});
        }
        Some(Message { app, id, body, is_repeated: dice == 50 })
    }

    /// Opens phones and kills their apps again until told to stop.
    pub(super) async fn phones(self, stop: CancellationToken) {
        let mut open: VecDeque<(&App, &User)> = VecDeque::new();
        while stop.run_until_cancelled(tokio::time::sleep(PHONE_INTERVAL)).await.is_some() {
            let is_killed = open.len() >= MAX_OPEN_PHONES || (!open.is_empty() && rand::random_range(0..3) == 0);
            let (phone, kind) = if is_killed {
                let Some(phone) = open.pop_front() else { continue };
                (phone, "disconnect")
            } else {
                let Some(phone) = self.someone_killed() else { continue };
                open.retain(|other| *other != phone);
                open.push_back(phone);
                (phone, "foreground")
            };
            let (app, user) = phone;
            let event = json!({
                "user_id": user.id, "device_id": user.device_id, "platform": user.platform(), "type": kind,
                "event_time": self.clock.now_ms(),
            });
            match app.report(&[event]).await {
                Ok(()) => self.tally.count(|numbers| numbers.session_events += 1),
                Err(error) => tracing::warn!(%error, "a session event was not taken"),
            }
        }
    }

    fn someone_killed(&self) -> Option<(&App, &User)> {
        let app = pick(&self.world.apps)?;
        let user = pick(&app.users).filter(|user| matches!(user.state, State::Killed | State::TwoPhones))?;
        Some((app, user))
    }
}

impl PartialEq for User {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl PartialEq for App {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

/// Lets the vendors fail one call now and then.
pub(super) async fn mishaps(vendors: Vendors, stop: CancellationToken) {
    let kinds = [
        status(503, "<html>Service Unavailable</html>", None),
        status(429, "slow down", Some("2")),
        Misbehaviour::Reset,
    ];
    for mishap in kinds.into_iter().cycle() {
        if stop.run_until_cancelled(tokio::time::sleep(MISHAP_INTERVAL)).await.is_none() {
            return;
        }
        vendors.fault(&Fault::once(mishap));
    }
}

fn status(status: u16, body: &str, retry_after: Option<&str>) -> Misbehaviour {
    Misbehaviour::Status { status, body: body.to_owned(), retry_after: retry_after.map(str::to_owned) }
}

fn pick<T>(list: &[T]) -> Option<&T> {
    if list.is_empty() { None } else { list.get(rand::random_range(0..list.len())) }
}

/// Neighbours in the list of users: different, and in different states.
fn group(app: &App) -> Vec<String> {
    let size = rand::random_range(3..=MAX_GROUP);
    let step = app.users.len() / MAX_GROUP;
    let from = rand::random_range(0..app.users.len().max(1));
    let member = |index: usize| app.users.get((from + index * step.max(1)) % app.users.len().max(1));
    (0..size).filter_map(member).map(|user| user.id.clone()).collect()
}
