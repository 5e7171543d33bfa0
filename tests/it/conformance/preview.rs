//! What an adapter shows of a call, beside what the stand-in got of it.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use rouse::domain::id::{AppId, CertificateId, NotificationId};
use rouse::domain::notification::{Content, Notification};
use rouse::secrets::masked_token;
use rouse::simulator::Call;
use rouse::vendor::outcome::Reason;
use rouse::vendor::preview::RenderedRequest;
use rouse::vendor::{Clearance, Push, Target, Vendor};
use serde_json::{Value, json};
use sqlx::PgPool;

use super::{Bench, Candidate, ID};
use crate::world::APP;

const DAY: Duration = Duration::from_hours(24);
const MASK: &str = "***";
/// What the client adds to every request.
const TRANSPORT: [&str; 3] = ["accept", "content-length", "host"];

/// One device alone, and six together.
pub(super) async fn the_preview_is_what_is_sent<C: Candidate>(pool: PgPool) {
    let bench = Bench::<C>::start(pool).await;
    let adapter = adapter(&bench);
    for devices in [1, 6] {
        let push = push(&bench, &*adapter);
        let targets: Vec<Target> = (1..)
            .zip(0..devices)
            .map(|(number, device)| Target {
                delivery_id: push.notification.notification_id.delivery(number),
                token: C::token(device),
            })
            .collect();
        let (requests, granted) = (bench.vendor.controls().requests_total(), bench.vendor.access_tokens_granted());
        let shown = adapter.preview(&push, &targets);
        assert_eq!(
            (bench.vendor.controls().requests_total(), bench.vendor.access_tokens_granted()),
            (requests, granted),
            "a preview makes no request"
        );
        let before = bench.vendor.controls().calls().len();
        let outcomes = adapter.send(&push, &targets).await;
        assert!(outcomes.iter().all(|outcome| outcome.reason == Reason::Accepted), "{outcomes:?}");
        let mut calls = bench.vendor.controls().calls().split_off(before);
        calls.retain(|call| C::is_send(&call.path));
        assert_eq!(shown.len(), calls.len(), "{shown:?}");
        let text = serde_json::to_string(&shown).unwrap();
        for (shown, call) in shown.iter().zip(&calls) {
            Beside { shown, call, targets: &targets, text: &text, is_of_the_moment: C::is_of_the_moment }.compare();
        }
        for secret in secrets(&bench.vendor).iter().chain(targets.iter().map(|target| &target.token)) {
            assert!(!text.contains(secret), "a secret is shown: {text}");
        }
    }
}

fn adapter<C>(bench: &Bench<C>) -> Arc<dyn Vendor> {
    let snapshot = bench.server().directory().snapshot();
    Arc::clone(snapshot.certificates[&CertificateId(ID)].adapter.as_ref().unwrap())
}

fn push<C>(bench: &Bench<C>, adapter: &dyn Vendor) -> Push {
    let now = bench.server().clock().now();
    let content = json!({"title": "小红", "body": "晚上一起吃饭吗？".repeat(40), "ttl_s": DAY.as_secs(),
        "conversation_id": "c1", "data": {"ext": r#"{"cid":"c-1024"}"#}});
    let content: Content = serde_json::from_value(content).unwrap();
    let unix_ms = u64::try_from(now.timestamp_millis()).unwrap();
    let mut push = Push {
        title: content.title.clone(),
        body: content.body.clone(),
        full_title: content.title.clone(),
        full_body: content.body.clone(),
        cuts: Vec::new(),
        badge: Some(3),
        time_to_live: DAY,
        expires_at: now + TimeDelta::days(1),
        clearance: Clearance::given(),
        notification: Arc::new(Notification {
            notification_id: NotificationId::new(unix_ms, rand::random()),
            app_id: AppId(APP),
            content,
        }),
    };
    adapter.fit(&mut push);
    push
}

/// The values of the account's secret fields; of a key its lines, as JSON writes line breaks in another way.
fn secrets<C: Candidate>(vendor: &C) -> Vec<String> {
    let (account, wrong) = (vendor.certificate(), vendor.wrong_secret());
    let secrets = wrong.as_object().unwrap().keys().map(|name| account[name].as_str().unwrap());
    let lines = secrets.flat_map(str::lines).filter(|line| !line.starts_with("-----"));
    lines.map(str::to_owned).collect()
}

/// A request as it is shown, and as it came.
struct Beside<'a> {
    shown: &'a RenderedRequest,
    call: &'a Call,
    targets: &'a [Target],
    /// The whole preview.
    text: &'a str,
    /// By path and field.
    is_of_the_moment: fn(&str, &str) -> bool,
}

impl Beside<'_> {
    fn compare(&self) {
        let (shown, call) = (self.shown, self.call);
        assert_eq!(shown.method, call.method);
        let host = call.authority.as_deref().or_else(|| call.header("host")).unwrap();
        assert_eq!(shown.url.split_once("://").unwrap().1, format!("{host}{}", self.masked(&call.path)));
        for (name, value) in &call.headers {
            match shown.headers.get(name) {
                Some(shown) => self.same(name, &shown.as_str().into(), &value.as_str().into()),
                None => assert!(TRANSPORT.contains(&name.as_str()), "{name} is not shown"),
            }
        }
        assert!(shown.headers.keys().all(|name| call.header(name).is_some()), "{shown:?}");
        self.same("", &shown.body, &self.body());
    }

    /// What came, tokens masked; of a form JSON where JSON is shown.
    fn body(&self) -> Value {
        if self.call.form.is_empty() {
            return serde_json::from_str(&self.masked(std::str::from_utf8(&self.call.body).unwrap())).unwrap();
        }
        let fields = self.call.form.iter().map(|(name, text)| {
            let text = self.masked(text);
            let is_text = self.shown.body[name].is_string();
            (name.clone(), if is_text { text.into() } else { serde_json::from_str(&text).unwrap() })
        });
        Value::Object(fields.collect())
    }

    fn masked(&self, text: &str) -> String {
        self.targets
            .iter()
            .fold(text.to_owned(), |text, target| text.replace(&target.token, &masked_token(&target.token)))
    }

    /// The same value, but for what is masked, and for what is another one at each call.
    fn same(&self, name: &str, shown: &Value, came: &Value) {
        match (shown, came) {
            (Value::Object(shown), Value::Object(came)) => {
                assert!(shown.keys().eq(came.keys()), "{shown:?} is not {came:?}");
                shown.iter().zip(came.values()).for_each(|((name, shown), came)| self.same(name, shown, came));
            }
            (Value::Array(shown), Value::Array(came)) => {
                assert_eq!(shown.len(), came.len(), "{name}");
                shown.iter().zip(came).for_each(|(shown, came)| self.same(name, shown, came));
            }
            (Value::String(shown), Value::String(came)) if shown.ends_with(MASK) => {
                let secret = came.strip_prefix(shown.trim_end_matches('*')).unwrap();
                assert!(secret.len() > 5 && !self.text.contains(secret), "{name} is shown");
            }
            _ if (self.is_of_the_moment)(&self.call.path, name) => assert_ne!(shown, came, "{name}"),
            _ => assert_eq!(shown, came, "{name}"),
        }
    }
}
