//! Receipts: what became of a message, posted to the URL its sender named (document, section 8).

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use serde::{Serialize, Serializer};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use url::form_urlencoded;

use super::extras::Callback;

/// How many messages one POST reports.
const MAX_PER_POST: usize = 200;
const TIMEOUT: Duration = Duration::from_secs(5);

/// The kinds of receipts this stand-in sends by itself or on request: each one bit.
pub(super) const DELIVERED: u32 = 1;
pub(super) const CLICKED: u32 = 2;
pub(super) const INVALID: u32 = 16;
pub(super) const SWITCHED_OFF: u32 = 32;

/// One report on some targets of one message, members in the document's order.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Receipt {
    #[serde(skip)]
    pub(super) message_id: String,
    pub(super) param: String,
    #[serde(rename = "type")]
    pub(super) kind: u32,
    /// Device tokens joined by commas.
    pub(super) targets: String,
    pub(super) jobkey: String,
    #[serde(rename = "barStatus")]
    pub(super) bar_status: &'static str,
    /// Epoch milliseconds.
    pub(super) timestamp: i64,
}

/// Posts receipts after a delay, several in one call as the vendor does.
pub(super) struct Receipts {
    delay: Duration,
    client: OnceLock<Option<reqwest::Client>>,
    waiting: Mutex<HashMap<String, Vec<Receipt>>>,
    flushes: watch::Sender<usize>,
    /// Moves when what waits is to be posted without waiting longer.
    hurry: watch::Sender<u64>,
    stop: CancellationToken,
    sent: AtomicU64,
    failed: AtomicU64,
    withheld: AtomicU64,
}

impl Receipts {
    pub(super) fn new(delay: Duration) -> Self {
        Self {
            delay,
            client: OnceLock::new(),
            waiting: Mutex::default(),
            flushes: watch::Sender::new(0),
            hurry: watch::Sender::new(0),
            stop: CancellationToken::new(),
            sent: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            withheld: AtomicU64::new(0),
        }
    }

    /// Queues receipts for a callback on this machine; for any other host they are counted and dropped.
    pub(super) fn queue(self: &Arc<Self>, callback: &Callback, receipts: Vec<Receipt>) {
        if receipts.is_empty() {
            return;
        }
        if !callback.is_loopback() {
            self.withheld.fetch_add(receipts.len() as u64, Ordering::Relaxed);
            return;
        }
        let url = callback.url.to_string();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(list) = waiting.get_mut(&url) {
            list.extend(receipts);
            return;
        }
        waiting.insert(url.clone(), receipts);
        self.flushes.send_modify(|running| *running += 1);
        let (receipts, hurry) = (Arc::clone(self), self.hurry.subscribe());
        tokio::spawn(async move {
            let stop = receipts.stop.clone();
            stop.run_until_cancelled(receipts.flush(url, hurry)).await;
            receipts.flushes.send_modify(|running| *running -= 1);
        });
    }

    /// Posts what waits now, and returns when that is done.
    pub(super) async fn hurry(&self) {
        self.hurry.send_modify(|times| *times += 1);
        self.settled().await;
    }

    /// Returns when nothing waits to be posted.
    pub(super) async fn settled(&self) {
        // The sender lives in `self`, so this cannot fail.
        drop(self.flushes.subscribe().wait_for(|running| *running == 0).await);
    }

    pub(super) fn stop(&self) {
        self.stop.cancel();
    }

    /// Receipts posted and answered 2xx, posted in vain, and withheld because their host is not this machine.
    pub(super) fn counts(&self) -> (u64, u64, u64) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (read(&self.sent), read(&self.failed), read(&self.withheld))
    }

    async fn flush(&self, url: String, mut hurry: watch::Receiver<u64>) {
        if !self.delay.is_zero() {
            // Either way the time has come.
            drop(tokio::time::timeout(self.delay, hurry.changed()).await);
        }
        let due = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&url).unwrap_or_default();
        for post in posts(due) {
            let count = post.len() as u64;
            let counter = if self.post(&url, &post).await { &self.sent } else { &self.failed };
            counter.fetch_add(count, Ordering::Relaxed);
        }
    }

    async fn post(&self, url: &str, post: &[Receipt]) -> bool {
        let Some(client) = self.client.get_or_init(client) else { return false };
        let request = client.post(url).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body(post));
        match request.send().await {
            Ok(answer) => answer.status().is_success(),
            Err(error) => {
                tracing::debug!(%error, "a receipt was not taken");
                false
            }
        }
    }
}

/// No redirect and no proxy: receipts stay on this machine.
fn client() -> Option<reqwest::Client> {
    let built = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .resolve("localhost", SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
        .timeout(TIMEOUT)
        .build();
    built.inspect_err(|error| tracing::error!(%error, "a simulator cannot send receipts")).ok()
}

/// Splits receipts into calls: an object cannot repeat a key, so two receipts of one message go in separate calls.
fn posts(receipts: Vec<Receipt>) -> Vec<Vec<Receipt>> {
    let mut posts: Vec<Vec<Receipt>> = Vec::new();
    let mut rounds: HashMap<String, usize> = HashMap::new();
    for receipt in receipts {
        let round = rounds.entry(receipt.message_id.clone()).or_default();
        if posts.len() == *round {
            posts.push(Vec::new());
        }
        if let Some(post) = posts.get_mut(*round) {
            post.push(receipt);
        }
        *round += 1;
    }
    posts.iter().flat_map(|post| post.chunks(MAX_PER_POST)).map(<[Receipt]>::to_vec).collect()
}

/// One form field `data`: a JSON object, message id to receipt.
fn body(post: &[Receipt]) -> String {
    struct Object<'a>(&'a [Receipt]);
    impl Serialize for Object<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_map(self.0.iter().map(|receipt| (&receipt.message_id, receipt)))
        }
    }
    // A map of texts and numbers always serialises.
    let json = serde_json::to_string(&Object(post)).unwrap_or_default();
    form_urlencoded::Serializer::new(String::new()).append_pair("data", &json).finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt(message_id: &str, kind: u32) -> Receipt {
        Receipt {
            message_id: message_id.into(),
            param: "m-77".into(),
            kind,
            targets: "//9TSU0tWElBT01JLVRPS0VOLTAwMDAwMDAwMDErL3g=".into(),
            jobkey: String::new(),
            bar_status: "Enable",
            timestamp: 1_792_380_000_000,
        }
    }

    #[test]
    fn the_body_is_that_of_the_documents_example() {
        let wanted = "data=%7B%22sdm57188602565449273KF%22%3A%7B%22param%22%3A%22m-77%22%2C%22type%22%3A1%2C%22targets%22\
                      %3A%22%2F%2F9TSU0tWElBT01JLVRPS0VOLTAwMDAwMDAwMDErL3g%3D%22%2C%22jobkey%22%3A%22%22%2C%22barStatus\
                      %22%3A%22Enable%22%2C%22timestamp%22%3A1792380000000%7D%7D";
        assert_eq!(body(&[receipt("sdm57188602565449273KF", 1)]), wanted);
        assert_eq!(wanted.len(), 255);
    }

    #[test]
    fn one_call_never_names_a_message_twice() {
        let receipts = vec![receipt("a", 1), receipt("b", 1), receipt("a", 16), receipt("a", 2)];
        let kinds: Vec<Vec<_>> = posts(receipts)
            .iter()
            .map(|post| post.iter().map(|receipt| (receipt.message_id.clone(), receipt.kind)).collect())
            .collect();
        let a = |kind| ("a".to_owned(), kind);
        assert_eq!(kinds, [vec![a(1), ("b".to_owned(), 1)], vec![a(16)], vec![a(2)]]);
        let many = (0..=MAX_PER_POST).map(|n| receipt(&n.to_string(), 1)).collect();
        assert_eq!(posts(many).iter().map(Vec::len).collect::<Vec<_>>(), [MAX_PER_POST, 1]);
    }
}
