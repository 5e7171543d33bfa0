//! What the tests of adapters start from.

use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use super::http::{HttpOptions, Reply, client};
use super::registry::{Adapter, Registry};
use super::{Clearance, Push, Target, Vendor};
use crate::clock::Clock;
use crate::config::Settings;
use crate::domain::id::{AppId, NotificationId};
use crate::domain::notification::{Content, Notification};

/// The adapter of an account, at the vendor's real hosts.
pub(super) fn built(adapter: &Adapter, account: &Value, defaults: Value) -> Arc<dyn Vendor> {
    let settings = Settings::read(None, std::collections::HashMap::new()).unwrap();
    let registry = Registry::new(&settings.vendors, Clock::from_wall()).unwrap();
    (adapter.build)(account.as_object().unwrap().clone(), defaults, &registry.0).unwrap()
}

/// A client as the adapters have one.
pub(super) fn http() -> reqwest::Client {
    let timeout = Duration::from_secs(1);
    let options =
        HttpOptions { connect_timeout: timeout, call_timeout: timeout, idle_connections: 1, extra_ca_file: None };
    client(&options).unwrap()
}

/// Devices with these tokens.
pub(super) fn targets(tokens: &[impl AsRef<str>]) -> Vec<Target> {
    let notification = NotificationId::new(1, 0);
    let target =
        |(number, token): (u32, &str)| Target { delivery_id: notification.delivery(number), token: token.to_owned() };
    (1..).zip(tokens.iter().map(AsRef::as_ref)).map(target).collect()
}

/// An answer with this body.
pub(super) fn reply(status: u16, body: &str) -> Reply {
    let status = StatusCode::from_u16(status).unwrap();
    Reply { status, headers: HeaderMap::new(), body: body.as_bytes().to_vec() }
}

/// A push of this content, which needs no more than what is to be changed.
pub(super) fn push(content: &Value) -> Push {
    let mut whole = json!({"title": "小红", "body": "晚上一起吃饭吗？", "ttl_s": 86_400});
    whole.as_object_mut().unwrap().extend(content.as_object().unwrap().clone());
    let content: Content = serde_json::from_value(whole).unwrap();
    Push {
        title: content.title.clone(),
        body: content.body.clone(),
        full_title: content.title.clone(),
        full_body: content.body.clone(),
        cuts: Vec::new(),
        badge: None,
        time_to_live: Duration::from_secs(u64::from(content.ttl_s)),
        expires_at: chrono::DateTime::UNIX_EPOCH,
        clearance: Clearance::given(),
        notification: Arc::new(Notification {
            notification_id: NotificationId::new(1_795_000_000_000, 0),
            app_id: AppId(1),
            content,
        }),
    }
}
