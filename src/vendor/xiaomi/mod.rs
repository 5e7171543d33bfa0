//! Xiaomi push (MiPush). Wire facts and their source: docs/vendors/xiaomi.md.

mod account;
mod classify;
mod encode;

use std::sync::Arc;

use async_trait::async_trait;
use reqwest::RequestBuilder;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use secrecy::ExposeSecret;
use serde_json::Value;

pub use account::{Account, Click, Defaults, Region};

use super::account::{opened, taken_apart, token_without_comma};
use super::fit::{Counting, TextLimit};
use super::http::Reply;
use super::outcome::Outcome;
use super::preview::{MASK, RenderedRequest, masked, rendered};
use super::registry::{Adapter, Built, Fields, Kit};
use super::{Limits, Push, QuotaReset, RateUnit, Target, Vendor};
use crate::domain::certificate::VendorKind;
use crate::domain::notification::Notification;

pub(super) const ADAPTER: Adapter =
    Adapter { kind: VendorKind::Xiaomi, take_apart: taken_apart::<Account>, check_token: token_without_comma, build };

fn build(fields: Fields, defaults: Value, kit: &Kit) -> Built {
    let (account, defaults) = opened::<Account>(fields, defaults)?;
    let hosts = &kit.hosts.xiaomi;
    let base_url = match account.region {
        Region::Cn => &hosts.cn,
        Region::Ru => &hosts.ru,
        Region::In => &hosts.r#in,
        Region::Eu => &hosts.eu,
        Region::Sg => &hosts.sg,
    };
    Ok(Arc::new(Xiaomi { account, defaults, http: kit.http.clone(), base_url: base_url.clone() }))
}

/// One Xiaomi account, ready to send.
#[derive(Debug)]
pub struct Xiaomi {
    pub account: Account,
    pub defaults: Defaults,
    pub http: reqwest::Client,
    /// Scheme, host and port of the account's region.
    pub base_url: String,
}

#[async_trait]
impl Vendor for Xiaomi {
    fn kind(&self) -> VendorKind {
        VendorKind::Xiaomi
    }

    fn limits(&self) -> Limits {
        Limits {
            batch: 1_000,
            // "fewer than 50" and "fewer than 128" characters
            title: TextLimit { max: 49, counting: Counting::Utf16 },
            body: TextLimit { max: 127, counting: Counting::Utf16 },
            // the tier below 100,000 devices
            rate: 500,
            rate_unit: RateUnit::Calls,
            quota_reset: QuotaReset::CHINA_MIDNIGHT,
            uses_badge: false, // the system counts
        }
    }

    fn message_class(&self, notification: &Notification) -> String {
        encode::channel_id(&self.defaults, notification).unwrap_or("default").to_owned()
    }

    async fn send(&self, push: &Push, targets: &[Target]) -> Vec<Outcome> {
        let request = self.request(self.account.app_secret.expose_secret(), push, targets);
        match Reply::fetch(request).await {
            Ok(reply) => classify::classify(&reply, targets),
            Err(failure) => failure.outcome.for_each(targets.len()),
        }
    }

    fn preview(&self, push: &Push, targets: &[Target]) -> Vec<RenderedRequest> {
        rendered([self.request(MASK, push, &masked(targets))], &["payload", "extra.template_param"])
    }
}

impl Xiaomi {
    fn request(&self, secret: &str, push: &Push, targets: &[Target]) -> RequestBuilder {
        self.http
            .post(format!("{}/v3/message/regid", self.base_url))
            .header(AUTHORIZATION, format!("key={secret}"))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded;charset=UTF-8")
            .body(encode::form(&self.account, &self.defaults, push, targets))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::secrets::masked_token;
    use crate::vendor::testing::{built, push, targets};

    #[test]
    fn the_preview_shows_the_forms_fields_and_the_json_in_them() {
        let account = json!({"package_name": "com.example.chat", "app_id": "1", "app_secret": "s3cr3t"});
        let defaults = json!({"channel_id": "134567", "template_id": "P1", "template_params": {"sender": "title"}});
        let xiaomi = built(&ADAPTER, &account, defaults);
        let push = push(&json!({"data": {"cid": "c1", "n": 5}}));
        let shown = xiaomi.preview(&push, &targets(&["t+1", "t+2"]));
        assert_eq!(
            serde_json::to_value(&shown).unwrap(),
            json!([{
                "method": "POST",
                "url": "https://api.xmpush.xiaomi.com/v3/message/regid",
                "headers": {
                    "authorization": "key=***",
                    "content-type": "application/x-www-form-urlencoded;charset=UTF-8",
                },
                "body": {
                    "registration_id": format!("{},{}", masked_token("t+1"), masked_token("t+2")),
                    "restricted_package_name": "com.example.chat",
                    "pass_through": "0",
                    "notify_type": "-1",
                    "notify_id": push.notification.collapse_key().to_string(),
                    "title": "小红",
                    "description": "晚上一起吃饭吗？",
                    "payload": {"cid": "c1", "n": 5},
                    "time_to_live": "86400000",
                    "extra.channel_id": "134567",
                    "extra.notify_foreground": "0",
                    "extra.notify_effect": "1",
                    "extra.template_id": "P1",
                    "extra.template_param": {"sender": "小红"},
                    "extra.cid": "c1",
                    "extra.n": "5",
                },
            }])
        );
    }
}
