//! A chat server as it really behaves: many connections, messages spread over the servers, and each message sent again,
//! the same, until somebody accepted it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::world::{APP, merged};

const CONNECTIONS: u64 = 16;
/// Between two tries of one message.
const AGAIN_AFTER: Duration = Duration::from_millis(100);
/// However bad the fault, messages are accepted again within this.
const RECOVERS_WITHIN: Duration = Duration::from_mins(2);
/// One try.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the chat server knows in the end.
#[derive(Debug, Default, Clone)]
pub(crate) struct Record {
    /// Message ids that were answered with 202, or with 200 as a replay of a try that got no answer; with the user.
    pub(crate) accepted: BTreeMap<String, String>,
    /// How often each message id was answered as new, with 202: once, whatever happens.
    pub(crate) news: BTreeMap<String, u32>,
    /// Answers by status; 0: none.
    pub(crate) statuses: BTreeMap<u16, u64>,
    /// 503 and 429 without Retry-After.
    pub(crate) without_retry_after: u64,
}

/// Where and what to post.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) servers: Arc<Mutex<Vec<SocketAddr>>>,
    pub(crate) key: String,
    pub(crate) app: i64,
    /// Users are `{prefix}0` to `{prefix}{users - 1}`.
    pub(crate) prefix: String,
    pub(crate) users: u64,
    /// Added to each message.
    pub(crate) fields: Value,
}

impl Target {
    pub(crate) fn new(servers: Arc<Mutex<Vec<SocketAddr>>>, key: &str, prefix: &str, users: u64) -> Self {
        Self { servers, key: key.to_owned(), app: APP, prefix: prefix.to_owned(), users, fields: json!({}) }
    }
}

/// See the module.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    accepted: Arc<AtomicU64>,
    record: Arc<Mutex<Record>>,
    workers: Vec<JoinHandle<()>>,
}

impl Load {
    /// Posts `per_second` messages, named `{name}-{number}`.
    pub(crate) fn start(target: &Target, name: &str, per_second: u64) -> Self {
        Self::start_each(target, name, per_second, 1)
    }

    /// The same, each message posted to `copies` servers at the same moment.
    pub(crate) fn start_each(target: &Target, name: &str, per_second: u64, copies: usize) -> Self {
        let (stop, accepted) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let record = Arc::new(Mutex::new(Record::default()));
        let next = Arc::new(AtomicU64::new(0));
        let http = reqwest::Client::builder().timeout(PATIENCE).no_proxy().build().unwrap();
        let pause = Duration::from_millis(1_000 * CONNECTIONS / per_second.max(1));
        let workers = (0..CONNECTIONS)
            .map(|worker| {
                let post = Post { http: http.clone(), target: target.clone(), record: Arc::clone(&record) };
                let (stop, accepted, next, name) =
                    (Arc::clone(&stop), Arc::clone(&accepted), Arc::clone(&next), name.to_owned());
                tokio::spawn(async move {
                    tokio::time::sleep(pause.mul_f64(f64::from(u32::try_from(worker).unwrap()) / 16.0)).await;
                    let mut ticks = tokio::time::interval(pause);
                    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
                    while !stop.load(Ordering::Relaxed) {
                        ticks.tick().await;
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        let all = (0..copies).map(|copy| post.until_accepted(&name, number, copy));
                        futures_util::future::join_all(all).await;
                        accepted.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        Self { stop, accepted, record, workers }
    }

    /// Messages accepted so far.
    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Resolves when so many more were accepted.
    pub(crate) async fn accepts(&self, more: u64) {
        let (goal, since) = (self.accepted() + more, std::time::Instant::now());
        while self.accepted() < goal {
            assert!(since.elapsed() < RECOVERS_WITHIN, "{more} more messages are not accepted");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// What was recorded since the last look, taken out.
    pub(crate) fn take(&self) -> Record {
        std::mem::take(&mut *self.record.lock().unwrap())
    }

    /// Posts nothing new, gets everything begun accepted, and tells.
    pub(crate) async fn finish(self) -> Record {
        self.stop.store(true, Ordering::Relaxed);
        for worker in self.workers {
            worker.await.unwrap();
        }
        std::mem::take(&mut *self.record.lock().unwrap())
    }
}

struct Post {
    http: reqwest::Client,
    target: Target,
    record: Arc<Mutex<Record>>,
}

impl Post {
    async fn until_accepted(&self, name: &str, number: u64, copy: usize) {
        let message_id = format!("{name}-{number}");
        let user = format!("{}{}", self.target.prefix, number % self.target.users);
        let body = json!({"message_id": message_id, "body": "hello", "data": {"ext": message_id},
            "to": [{"user_id": user}]});
        let body = merged(body, self.target.fields.clone());
        for attempt in 0_u64.. {
            let server = {
                let servers = self.target.servers.lock().unwrap();
                let turn = usize::try_from(number + attempt).unwrap() + copy;
                servers[turn % servers.len()]
            };
            let url = format!("http://{server}/v1/apps/{}/notifications", self.target.app);
            let answer = self.http.post(url).bearer_auth(&self.target.key).json(&body).send().await;
            let status = answer.as_ref().map_or(0, |answer| answer.status().as_u16());
            let has_retry_after = answer.as_ref().is_ok_and(|answer| answer.headers().contains_key("retry-after"));
            {
                let mut record = self.record.lock().unwrap();
                *record.statuses.entry(status).or_default() += 1;
                if matches!(status, 429 | 503) && !has_retry_after {
                    record.without_retry_after += 1;
                }
                if matches!(status, 200 | 202) {
                    if status == 202 {
                        *record.news.entry(message_id.clone()).or_default() += 1;
                    }
                    record.accepted.insert(message_id, user);
                    return;
                }
            }
            assert!(matches!(status, 0 | 408 | 429 | 500..), "{status} for {message_id}");
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }
}
