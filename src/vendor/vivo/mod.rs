//! vivo push. Wire facts and their source: docs/vendors/vivo.md.

mod account;
mod classify;
mod encode;
mod token;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use reqwest::RequestBuilder;
use secrecy::ExposeSecret;
use serde::Serialize;
use serde_json::Value;

pub use account::{Account, Click, Defaults};

use super::access_token::AccessToken;
use super::account::{opened, plain_token, taken_apart};
use super::call::{self, Answered, judged};
use super::fit::{Counting, TextLimit};
use super::http::{Failure, Reply};
use super::outcome::Outcome;
use super::preview::{MASK, RenderedRequest, masked, rendered};
use super::registry::{Adapter, BuildError, Built, Fields, Kit};
use super::{Limits, Push, QuotaReset, RateUnit, Target, Vendor};
use crate::clock::Clock;
use crate::domain::certificate::VendorKind;
use crate::domain::notification::Notification;

/// The fewest devices for which a list is stored: it costs two calls, one after the other, and counts against a daily quota.
const LEAST_LIST: usize = 5;
/// How many devices are sent to one by one, all at the same time.
const SINGLES: usize = 8;
/// A step that takes longer leaves too little time for the next.
const SLOW_STEP: Duration = Duration::from_millis(400);
/// How long no list is tried when its two steps took too long.
const SLOW_LISTS_REST: TimeDelta = TimeDelta::minutes(5);
/// To one device; stores a message for a list; sends it to the list.
const SEND: &str = "/message/send";
const SAVE_LIST: &str = "/message/saveListPayload";
const PUSH_TO_LIST: &str = "/message/pushToList";
/// Stands where the number of a message would that is not stored yet.
const TASK_TO_COME: &str = "<taskId of the answer before>";

pub(super) const ADAPTER: Adapter =
    Adapter { kind: VendorKind::Vivo, take_apart: taken_apart::<Account>, check_token: plain_token, build };

fn build(fields: Fields, defaults: Value, kit: &Kit) -> Built {
    let (account, defaults) = opened::<Account>(fields, defaults)?;
    let app_id = account.number().ok_or_else(|| BuildError::Stored("app_id: not a number".to_owned()))?;
    let base_url = kit.hosts.vivo.push.clone();
    let secret = account.app_secret.expose_secret();
    let credential = [base_url.as_str(), &account.app_id, &account.app_key, secret];
    let grant = token::Request {
        http: kit.http.clone(),
        url: format!("{base_url}/message/auth"),
        app_id,
        app_key: account.app_key.to_string(),
        app_secret: account.app_secret.clone(),
        clock: kit.clock.clone(),
    };
    let token = kit.access_token(VendorKind::Vivo, &credential, grant);
    let clock = kit.clock.clone();
    let http = kit.http.clone();
    Ok(Arc::new(Vivo { app_id, defaults, http, base_url, token, clock, no_lists_until_ms: AtomicI64::new(0) }))
}

/// One vivo app, ready to send.
#[derive(Debug)]
struct Vivo {
    app_id: u64,
    defaults: Defaults,
    http: reqwest::Client,
    base_url: String,
    token: Arc<AccessToken>,
    clock: Clock,
    /// Until then devices are sent to one by one.
    no_lists_until_ms: AtomicI64,
}

#[async_trait]
impl Vendor for Vivo {
    fn kind(&self) -> VendorKind {
        VendorKind::Vivo
    }

    fn limits(&self) -> Limits {
        Limits {
            batch: 1_000,
            // The older text; it satisfies the newer one (characters) too.
            title: TextLimit { max: 40, counting: Counting::Width },
            body: TextLimit { max: 100, counting: Counting::Width },
            // the tier below 5 million users
            rate: 3_000,
            rate_unit: RateUnit::Devices,
            quota_reset: QuotaReset::CHINA_MIDNIGHT,
            uses_badge: false, // it can be counted up, not set
        }
    }

    fn takes_steps(&self) -> bool {
        true
    }

    fn message_class(&self, notification: &Notification) -> String {
        let (classification, _) = encode::class(&self.defaults, notification);
        if classification == encode::SYSTEM { "system" } else { "operations" }.to_owned()
    }

    fn fit(&self, push: &mut Push) {
        let limits = self.limits();
        push.cut_title(limits.title);
        push.cut_body(limits.body);
        encode::fit_data(push);
    }

    fn batch(&self, time_to_live: Duration) -> usize {
        if self.may_list(time_to_live) { self.limits().batch } else { SINGLES }
    }

    async fn send(&self, push: &Push, targets: &[Target]) -> Vec<Outcome> {
        if self.is_list(push, targets) {
            let list = |token: Arc<str>| async move { self.send_list(&token, push, targets).await };
            return call::with_token(&self.token, push, targets, list).await;
        }
        // More only when lists came to their end a moment ago: the rest comes again in smaller parts.
        let (now, later) = targets.split_at(targets.len().min(SINGLES));
        let sends = now.iter().map(|target| self.send_single(push, target));
        let mut outcomes = join_all(sends).await.concat();
        outcomes.extend(Outcome::put_back().for_each(later.len()));
        outcomes
    }

    fn preview(&self, push: &Push, targets: &[Target]) -> Vec<RenderedRequest> {
        // Only the addresses are masked: the dedupe keys are made of the real ones.
        let shown = masked(targets);
        if self.is_list(push, targets) {
            let content = encode::list_content(self.app_id, &self.defaults, push);
            let list = encode::list(TASK_TO_COME, push, targets).to(&shown);
            return rendered([self.request(SAVE_LIST, MASK, &content), self.request(PUSH_TO_LIST, MASK, &list)], &[]);
        }
        let single = |(target, shown)| {
            let body = encode::single(self.app_id, &self.defaults, push, target).to(shown);
            self.request(SEND, MASK, &body)
        };
        rendered(targets.iter().zip(&shown).map(single), &[])
    }
}

impl Vivo {
    fn is_list(&self, push: &Push, targets: &[Target]) -> bool {
        targets.len() >= LEAST_LIST && self.may_list(push.time_to_live)
    }

    /// A list keeps a message for 15 minutes at least.
    fn may_list(&self, time_to_live: Duration) -> bool {
        let now_ms = self.clock.now().timestamp_millis();
        time_to_live >= encode::LEAST_LIST_TIME && now_ms >= self.no_lists_until_ms.load(Ordering::Relaxed)
    }

    async fn send_single(&self, push: &Push, target: &Target) -> Vec<Outcome> {
        let body = &encode::single(self.app_id, &self.defaults, push, target);
        let target = std::slice::from_ref(target);
        call::with_token(&self.token, push, target, |token| async move {
            let is_test = self.defaults.test_mode;
            judged(self.post(SEND, &token, body).await, target, |reply, target| {
                classify::single(reply, target, is_test)
            })
        })
        .await
    }

    /// Stores the message, then sends it to the list.
    async fn send_list(&self, token: &str, push: &Push, targets: &[Target]) -> Answered {
        let body = encode::list_content(self.app_id, &self.defaults, push);
        let started = Instant::now();
        let stored = match self.post(SAVE_LIST, token, &body).await {
            Ok(reply) => classify::stored(&reply),
            Err(failure) => return Answered::all(&failure.outcome, targets),
        };
        let task_id = match stored {
            Ok(task_id) => task_id,
            Err(refused) => {
                if refused.is_list_quota {
                    self.no_lists_until(QuotaReset::CHINA_MIDNIGHT.next(self.clock.now()));
                }
                return Answered::all(&refused.outcome, targets).with(refused.token);
            }
        };
        if !push.clearance.holds() {
            if started.elapsed() > SLOW_STEP {
                // Two steps take too long for what is known of the devices: for a while they are sent to one by one.
                self.no_lists_until(self.clock.now() + SLOW_LISTS_REST);
            }
            return Answered::all(&Outcome::put_back(), targets);
        }
        let body = encode::list(&task_id, push, targets);
        judged(self.post(PUSH_TO_LIST, token, &body).await, targets, |reply, targets| {
            classify::list(reply, &task_id, targets, self.defaults.test_mode)
        })
    }

    fn no_lists_until(&self, until: DateTime<Utc>) {
        self.no_lists_until_ms.fetch_max(until.timestamp_millis(), Ordering::Relaxed);
    }

    async fn post(&self, path: &str, token: &str, body: &(impl Serialize + Sync)) -> Result<Reply, Failure> {
        Reply::fetch(self.request(path, token, body)).await
    }

    fn request(&self, path: &str, token: &str, body: &impl Serialize) -> RequestBuilder {
        self.http.post(format!("{}{path}", self.base_url)).header("authToken", token).json(body)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::secrets::masked_token;
    use crate::vendor::testing::{built, push, targets};

    const TOKENS: [&str; 5] = ["v1", "v2", "v3", "v4", "v5"];

    fn shown(push: &Push, targets: &[Target]) -> Vec<Value> {
        let account = json!({"package_name": "com.example.chat", "app_id": "10004", "app_key": "k", "app_secret": "s"});
        let vivo = built(&ADAPTER, &account, json!({}));
        vivo.preview(push, targets).into_iter().map(|request| serde_json::to_value(request).unwrap()).collect()
    }

    fn request(path: &str, body: &Value) -> Value {
        let headers = json!({"authtoken": "***", "content-type": "application/json"});
        json!({"method": "POST", "url": format!("https://api-push.vivo.com.cn{path}"), "headers": headers, "body": body})
    }

    /// What a message has besides an address and a dedupe key.
    fn content(push: &Push) -> Value {
        json!({"appId": 10_004, "notifyType": 4, "title": "小红", "content": "晚上一起吃饭吗？", "timeToLive": 86_400,
            "skipType": 1, "networkType": -1, "classification": 1, "category": "IM", "pushMode": 0,
            "notifyId": push.notification.collapse_key(), "foregroundShow": false, "addBadge": false})
    }

    #[test]
    fn the_preview_of_few_devices_is_a_send_for_each_with_its_real_dedupe_key() {
        let (push, targets, defaults) = (push(&json!({})), targets(&TOKENS[..2]), Defaults::default());
        let expected = targets.iter().map(|target| {
            let sent = encode::single(10_004, &defaults, &push, target);
            let mut body = content(&push);
            body["regId"] = masked_token(&target.token).into();
            body["requestId"] = serde_json::to_value(sent).unwrap()["requestId"].clone();
            request("/message/send", &body)
        });
        assert_eq!(shown(&push, &targets), expected.collect::<Vec<_>>());
    }

    #[test]
    fn the_preview_of_many_devices_is_the_two_steps_of_a_list() {
        let (push, targets) = (push(&json!({})), targets(&TOKENS));
        let shown = shown(&push, &targets);
        let mut stored = content(&push);
        // Another one at each call.
        stored["requestId"] = shown[0]["body"]["requestId"].clone();
        assert_eq!(stored["requestId"].as_str().unwrap().len(), 32);
        let list = json!({
            "regIds": TOKENS.map(masked_token),
            "taskId": "<taskId of the answer before>",
            "requestId": serde_json::to_value(encode::list("77", &push, &targets)).unwrap()["requestId"],
        });
        assert_eq!(shown, [request("/message/saveListPayload", &stored), request("/message/pushToList", &list)]);
    }

    #[test]
    fn a_message_that_cannot_be_stored_has_no_list() {
        let push = Push { time_to_live: Duration::from_mins(1), ..push(&json!({})) };
        let shown = shown(&push, &targets(&TOKENS));
        let urls: Vec<&Value> = shown.iter().map(|request| &request["url"]).collect();
        assert_eq!(urls, ["https://api-push.vivo.com.cn/message/send"; 5]);
    }
}
