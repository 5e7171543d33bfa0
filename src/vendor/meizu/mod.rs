//! Meizu push (Flyme). Wire facts and their source: docs/vendors/meizu.md.

mod account;
mod classify;
mod encode;

use std::sync::Arc;

use async_trait::async_trait;
use reqwest::RequestBuilder;
use reqwest::header::CONTENT_TYPE;
use secrecy::ExposeSecret;
use serde_json::Value;

pub use account::{Account, Click, Defaults};

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
    Adapter { kind: VendorKind::Meizu, take_apart: taken_apart::<Account>, check_token: token_without_comma, build };

fn build(fields: Fields, defaults: Value, kit: &Kit) -> Built {
    let (account, defaults) = opened::<Account>(fields, defaults)?;
    let url = format!("{}/garcia/api/server/push/varnished/pushByPushId", kit.hosts.meizu.push);
    Ok(Arc::new(Meizu { account, defaults, http: kit.http.clone(), url }))
}

/// One Meizu app, ready to send.
#[derive(Debug)]
struct Meizu {
    account: Account,
    defaults: Defaults,
    http: reqwest::Client,
    url: String,
}

#[async_trait]
impl Vendor for Meizu {
    fn kind(&self) -> VendorKind {
        VendorKind::Meizu
    }

    fn limits(&self) -> Limits {
        Limits {
            batch: 100,
            title: TextLimit { max: 32, counting: Counting::Utf16 },
            body: TextLimit { max: 100, counting: Counting::Utf16 },
            // the lower of two published figures
            rate: 200,
            rate_unit: RateUnit::Calls,
            quota_reset: QuotaReset::CHINA_MIDNIGHT,
            uses_badge: false, // there is no badge
        }
    }

    fn message_class(&self, notification: &Notification) -> String {
        let is_private = encode::notice_type(&self.defaults, notification) == encode::PRIVATE;
        if is_private { "private" } else { "public" }.to_owned()
    }

    fn fit(&self, push: &mut Push) {
        let limits = self.limits();
        push.cut_title(limits.title);
        push.cut_body(limits.body);
        encode::fit_data(&self.defaults, push);
    }

    async fn send(&self, push: &Push, targets: &[Target]) -> Vec<Outcome> {
        let request = self.request(self.account.app_secret.expose_secret(), push, targets);
        match Reply::fetch(request).await {
            Ok(reply) => classify::classify(&reply, targets),
            Err(failure) => failure.outcome.for_each(targets.len()),
        }
    }

    fn preview(&self, push: &Push, targets: &[Target]) -> Vec<RenderedRequest> {
        let mut requests = rendered([self.request(MASK, push, &masked(targets))], &["messageJson"]);
        for request in &mut requests {
            // Signed with no secret, it would only look like a signature.
            request.body["sign"] = MASK.into();
        }
        requests
    }
}

impl Meizu {
    fn request(&self, secret: &str, push: &Push, targets: &[Target]) -> RequestBuilder {
        // Serialised once: these bytes are signed, and these are sent.
        let message = encode::message(&self.defaults, push);
        self.http
            .post(&self.url)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded;charset=UTF-8")
            .body(encode::form(&self.account.app_id, secret, &message, targets))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::secrets::masked_token;
    use crate::vendor::testing::{built, push, targets};

    #[test]
    fn the_preview_shows_the_form_with_its_message_unfolded_and_no_signature() {
        let account = json!({"package_name": "com.example.chat", "app_id": "100999", "app_secret": "s3cr3t"});
        let meizu = built(&ADAPTER, &account, json!({}));
        let push = push(&json!({"data": {"cid": "c1"}}));
        let shown = meizu.preview(&push, &targets(&["RA1", "RA2"]));
        let message: Value = serde_json::from_str(&encode::message(&Defaults::default(), &push)).unwrap();
        assert_eq!(message["clickTypeInfo"]["parameters"], json!({"cid": "c1"}));
        assert_eq!(
            serde_json::to_value(&shown).unwrap(),
            json!([{
                "method": "POST",
                "url": "https://server-api-push.meizu.com/garcia/api/server/push/varnished/pushByPushId",
                "headers": {"content-type": "application/x-www-form-urlencoded;charset=UTF-8"},
                "body": {
                    "appId": "100999",
                    "pushIds": format!("{},{}", masked_token("RA1"), masked_token("RA2")),
                    "messageJson": message,
                    "sign": "***",
                },
            }])
        );
    }
}
