//! Huawei Push Kit for Android, EMUI and HarmonyOS 2 to 4 (API v1). Wire facts and their source: docs/vendors/huawei.md.

mod account;
mod classify;
mod encode;
mod token;

use std::sync::Arc;

use async_trait::async_trait;
use reqwest::RequestBuilder;
use reqwest::header::CONTENT_TYPE;
use secrecy::ExposeSecret;
use serde_json::Value;

pub use account::{Account, Click, Defaults, Importance};

use super::access_token::AccessToken;
use super::account::{opened, plain_token, taken_apart};
use super::call::{self, judged};
use super::fit::{Counting, TextLimit};
use super::http::Reply;
use super::outcome::{Outcome, Reason};
use super::preview::{MASK, RenderedRequest, masked, rendered};
use super::registry::{Adapter, Built, Fields, Kit};
use super::{Limits, Push, QuotaReset, RateUnit, Target, Vendor};
use crate::domain::certificate::VendorKind;
use crate::domain::notification::Notification;

pub(super) const ADAPTER: Adapter =
    Adapter { kind: VendorKind::Huawei, take_apart: taken_apart::<Account>, check_token: plain_token, build };

fn build(fields: Fields, defaults: Value, kit: &Kit) -> Built {
    let (account, defaults) = opened::<Account>(fields, defaults)?;
    let hosts = &kit.hosts.huawei;
    let grant = token::Request {
        http: kit.http.clone(),
        url: format!("{}/oauth2/v3/token", hosts.token),
        app_id: account.app_id.to_string(),
        app_secret: account.app_secret.clone(),
    };
    let credential = [hosts.token.as_str(), &account.app_id, account.app_secret.expose_secret()];
    let token = kit.access_token(VendorKind::Huawei, &credential, grant);
    let url = format!("{}/v1/{}/messages:send", hosts.push, &*account.app_id);
    Ok(Arc::new(Huawei { defaults, http: kit.http.clone(), url, token }))
}

/// One Huawei app, ready to send.
#[derive(Debug)]
struct Huawei {
    defaults: Defaults,
    http: reqwest::Client,
    url: String,
    token: Arc<AccessToken>,
}

#[async_trait]
impl Vendor for Huawei {
    fn kind(&self) -> VendorKind {
        VendorKind::Huawei
    }

    fn limits(&self) -> Limits {
        Limits {
            batch: 1_000,
            title: TextLimit { max: encode::MAX_TITLE_BYTES, counting: Counting::JsonBytes },
            // What is left of the request, see `fit`.
            body: TextLimit { max: encode::MAX_REQUEST_BYTES, counting: Counting::JsonBytes },
            // the floor for all apps
            rate: 6_000,
            rate_unit: RateUnit::Devices,
            quota_reset: QuotaReset::CHINA_MIDNIGHT,
            uses_badge: self.defaults.badge_class.is_some(),
        }
    }

    fn takes_steps(&self) -> bool {
        true
    }

    fn message_class(&self, notification: &Notification) -> String {
        encode::category(&self.defaults, notification).to_owned()
    }

    fn fit(&self, push: &mut Push) {
        encode::fit(&self.defaults, push, self.limits().title);
    }

    async fn send(&self, push: &Push, targets: &[Target]) -> Vec<Outcome> {
        if self.is_too_long(push) {
            let outcome = Outcome::new(Reason::PayloadRefused).with_code("request over 4096 bytes, not sent");
            return outcome.for_each(targets.len());
        }
        call::with_token(&self.token, push, targets, |token| async move {
            judged(Reply::fetch(self.request(&token, push, targets)).await, targets, classify::classify)
        })
        .await
    }

    fn preview(&self, push: &Push, targets: &[Target]) -> Vec<RenderedRequest> {
        let request = (!self.is_too_long(push)).then(|| self.request(MASK, push, &masked(targets)));
        rendered(request, &[])
    }
}

impl Huawei {
    /// Huawei would refuse it: it is not sent.
    fn is_too_long(&self, push: &Push) -> bool {
        encode::request_bytes(&self.defaults, push) > encode::MAX_REQUEST_BYTES
    }

    fn request(&self, token: &str, push: &Push, targets: &[Target]) -> RequestBuilder {
        self.http
            .post(&self.url)
            .bearer_auth(token)
            .header(CONTENT_TYPE, "application/json;charset=UTF-8")
            .body(encode::request(&self.defaults, push, targets))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::secrets::masked_token;
    use crate::vendor::testing::{built, push, targets};

    fn huawei() -> Arc<dyn Vendor> {
        let account = json!({"package_name": "com.example.chat", "app_id": "100123456", "app_secret": "s3cr3t"});
        built(&ADAPTER, &account, json!({"category": "WORK"}))
    }

    #[test]
    fn the_preview_shows_the_json_for_all_devices() {
        let push = push(&json!({}));
        let shown = huawei().preview(&push, &targets(&["T1", "T2"]));
        assert_eq!(
            serde_json::to_value(&shown).unwrap(),
            json!([{
                "method": "POST",
                "url": "https://push-api.cloud.huawei.com/v1/100123456/messages:send",
                "headers": {"authorization": "Bearer ***", "content-type": "application/json;charset=UTF-8"},
                "body": {
                    "validate_only": false,
                    "message": {
                        "android": {
                            "category": "WORK",
                            "ttl": "86400s",
                            "collapse_key": -1,
                            "bi_tag": push.notification.notification_id.0.to_string(),
                            "target_user_type": 0,
                            "notification": {
                                "title": "小红",
                                "body": "晚上一起吃饭吗？",
                                "importance": "NORMAL",
                                "click_action": {"type": 3},
                                "notify_id": push.notification.collapse_key(),
                                "foreground_show": false,
                            },
                        },
                        "token": [masked_token("T1"), masked_token("T2")],
                    },
                },
            }])
        );
    }

    #[test]
    fn what_is_too_long_to_be_sent_has_no_preview() {
        let push = push(&json!({"body": "x".repeat(4_096)}));
        assert_eq!(huawei().preview(&push, &targets(&["T1"])), []);
    }
}
