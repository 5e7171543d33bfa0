//! OPPO PUSH, for OPPO, realme and OnePlus phones. Wire facts and their source: docs/vendors/oppo.md.

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

pub use account::{Account, Click, Defaults, Region};

use super::access_token::AccessToken;
use super::account::{opened, plain_token, taken_apart};
use super::call::{self, judged};
use super::fit::{Counting, TextLimit};
use super::http::Reply;
use super::outcome::Outcome;
use super::preview::{MASK, RenderedRequest, masked, rendered};
use super::registry::{Adapter, Built, Fields, Kit};
use super::{Limits, Push, QuotaReset, RateUnit, Target, Vendor};
use crate::domain::certificate::VendorKind;
use crate::domain::notification::Notification;

pub(super) const ADAPTER: Adapter =
    Adapter { kind: VendorKind::Oppo, take_apart: taken_apart::<Account>, check_token: plain_token, build };

fn build(fields: Fields, defaults: Value, kit: &Kit) -> Built {
    let (account, defaults) = opened::<Account>(fields, defaults)?;
    let base_url = match account.region {
        Region::Cn => kit.hosts.oppo.cn.clone(),
        Region::Intl => kit.hosts.oppo.intl.clone(),
    };
    let credential = [base_url.as_str(), &account.app_key, account.master_secret.expose_secret()];
    let grant = token::Request {
        http: kit.http.clone(),
        url: format!("{base_url}/server/v1/auth"),
        app_key: account.app_key.to_string(),
        master_secret: account.master_secret.clone(),
        clock: kit.clock.clone(),
    };
    let token = kit.access_token(VendorKind::Oppo, &credential, grant);
    Ok(Arc::new(Oppo { defaults, http: kit.http.clone(), base_url, token }))
}

/// One OPPO app, ready to send.
#[derive(Debug)]
struct Oppo {
    defaults: Defaults,
    http: reqwest::Client,
    base_url: String,
    token: Arc<AccessToken>,
}

#[async_trait]
impl Vendor for Oppo {
    fn kind(&self) -> VendorKind {
        VendorKind::Oppo
    }

    fn limits(&self) -> Limits {
        Limits {
            // The document allows 1,000; each message is whole and encoded twice, so 1,000 would be megabytes.
            batch: 100,
            title: TextLimit { max: 50, counting: Counting::Chars },
            body: TextLimit { max: self.defaults.content_chars(), counting: Counting::Chars },
            // the tier below 10 million users
            rate: 5_000,
            rate_unit: RateUnit::Devices,
            quota_reset: QuotaReset::CHINA_MIDNIGHT,
            uses_badge: false, // the field of the number is not known
        }
    }

    fn takes_steps(&self) -> bool {
        true
    }

    fn message_class(&self, notification: &Notification) -> String {
        encode::message_class(&self.defaults, notification).to_owned()
    }

    fn fit(&self, push: &mut Push) {
        let limits = self.limits();
        push.cut_title(limits.title);
        push.cut_body(encode::body_limit(&push.notification, limits.body));
        encode::fit_data(push);
    }

    async fn send(&self, push: &Push, targets: &[Target]) -> Vec<Outcome> {
        call::with_token(&self.token, push, targets, |token| async move {
            judged(Reply::fetch(self.request(&token, push, targets)).await, targets, classify::classify)
        })
        .await
    }

    fn preview(&self, push: &Push, targets: &[Target]) -> Vec<RenderedRequest> {
        rendered([self.request(MASK, push, &masked(targets))], &["message", "messages"])
    }
}

impl Oppo {
    fn request(&self, token: &str, push: &Push, targets: &[Target]) -> RequestBuilder {
        let (path, body) = match targets {
            [only] => ("unicast", encode::unicast(token, &self.defaults, push, only)),
            many => ("unicast_batch", encode::unicast_batch(token, &self.defaults, push, many)),
        };
        self.http
            .post(format!("{}/server/v1/message/notification/{path}", self.base_url))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded; charset=UTF-8")
            .body(body)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::secrets::masked_token;
    use crate::vendor::testing::{built, push, targets};

    const FOLDER: &str = "https://api.push.oppomobile.com/server/v1/message/notification";

    fn shown(push: &Push, targets: &[Target]) -> Value {
        let account = json!({"package_name": "com.example.chat", "app_key": "k", "master_secret": "s3cr3t"});
        let oppo = built(&ADAPTER, &account, json!({"category": "IM", "notify_level": 2}));
        serde_json::to_value(oppo.preview(push, targets)).unwrap()
    }

    /// One device's message.
    fn message(push: &Push, target: &Target) -> Value {
        json!({
            "target_type": 2,
            "target_value": masked_token(&target.token),
            "verify_registration_id": true,
            "notification": {
                "app_message_id": target.delivery_id.0.to_string(),
                "style": 1,
                "title": "小红",
                "content": "晚上一起吃饭吗？",
                "click_action_type": 0,
                "action_parameters": r#"{"cid":"c1"}"#,
                "off_line": true,
                "off_line_ttl": 86_400,
                "category": "IM",
                "notify_level": 2,
                "notify_id": push.notification.collapse_key(),
            },
        })
    }

    #[test]
    fn the_preview_is_a_unicast_for_one_device_and_a_batch_for_several() {
        let push = push(&json!({"data": {"cid": "c1"}}));
        let targets = targets(&["CN_1", "CN_2"]);
        let headers = json!({"content-type": "application/x-www-form-urlencoded; charset=UTF-8"});
        assert_eq!(
            shown(&push, &targets[..1]),
            json!([{
                "method": "POST",
                "url": format!("{FOLDER}/unicast"),
                "headers": headers,
                "body": {"auth_token": "***", "message": message(&push, &targets[0])},
            }])
        );
        let messages: Vec<Value> = targets.iter().map(|target| message(&push, target)).collect();
        assert_eq!(
            shown(&push, &targets),
            json!([{
                "method": "POST",
                "url": format!("{FOLDER}/unicast_batch"),
                "headers": headers,
                "body": {"auth_token": "***", "messages": messages},
            }])
        );
    }
}
