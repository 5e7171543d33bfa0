//! Apple Push Notification service. Wire facts and their source: docs/vendors/apns.md.

mod account;
mod classify;
mod connections;
mod credential;
mod encode;
mod provider_token;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderValue};
use http::{Method, Request, Uri};
use serde_json::Value;
use tokio::sync::Semaphore;

pub use account::{Account, Defaults, Environment, Sound};
use classify::Advice;
use connections::Connections;
use credential::{Credential, CredentialError};
use provider_token::ProviderToken;

use super::account::read;
use super::fit::{Counting, TextLimit};
use super::http::{HttpClientError, HttpOptions};
use super::outcome::{Outcome, Reason};
use super::preview::{RenderedRequest, masked, rendered_http2};
use super::registry::{Adapter, Built, Fields, Kit};
use super::shared::Shared;
use super::{Limits, Push, QuotaReset, RateUnit, Target, Vendor};
use crate::clock::Clock;
use crate::domain::certificate::VendorKind;
use crate::domain::notification::Notification;

/// How often a request that the server did not look at is sent again at once.
const RESENDS: u32 = 3;
/// The most of a title, so that a body has room beside it.
const MAX_TITLE_BYTES: usize = 1_024;
/// Stands where a provider token would.
const MASKED_TOKEN: HeaderValue = HeaderValue::from_static("bearer ***");

pub(super) const ADAPTER: Adapter =
    Adapter { kind: VendorKind::Apns, take_apart: account::taken_apart, check_token: account::check_token, build };

fn build(fields: Fields, defaults: Value, kit: &Kit) -> Built {
    let account: Account = read("", Value::Object(fields))?;
    let base_url = match account.environment {
        Environment::Production => &kit.hosts.apns.production,
        Environment::Sandbox => &kit.hosts.apns.sandbox,
    };
    Ok(Arc::new(kit.apns.connect(&account, read("defaults.", defaults)?, base_url)?))
}

/// One APNs certificate (a topic with a credential), ready to send.
pub struct Apns {
    topic: HeaderValue,
    defaults: Defaults,
    base_url: String,
    /// `None`: a client certificate speaks for itself on its connections.
    token: Option<Arc<ProviderToken>>,
    connections: Arc<Connections>,
}

/// Why a stored account makes no adapter.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("{}: {}", .0.field, .0.message)]
    Credential(#[from] CredentialError),
    #[error(transparent)]
    Http(#[from] HttpClientError),
    #[error("topic: cannot stand in a header")]
    Topic,
}

/// Makes adapters. Those of one credential share its provider token and, for a host, its connections.
#[derive(Debug)]
pub struct Connector {
    clock: Clock,
    http: HttpOptions,
    /// HTTP/2 connections of one credential to one host.
    connections: usize,
    streams_per_connection: usize,
    tokens: Shared<[u8; 32], ProviderToken>,
    pools: Shared<(String, [u8; 32]), Connections>,
}

impl Connector {
    /// With the settings of all accounts.
    pub fn new(clock: Clock, http: HttpOptions, connections: usize, streams_per_connection: usize) -> Self {
        Self { clock, http, connections, streams_per_connection, tokens: Shared::default(), pools: Shared::default() }
    }

    /// An adapter for this account at this host.
    /// # Errors
    /// [`ConnectError`]: the credential is not usable.
    pub fn connect(&self, account: &Account, defaults: Defaults, base_url: &str) -> Result<Apns, ConnectError> {
        let credential = Credential::read(account)?;
        let digest = credential.digest();
        let token = match &credential {
            Credential::Key(key) => {
                Some(self.tokens.get_or_make(digest, || ProviderToken::new(key, self.clock.clone()))?)
            }
            Credential::Certificate(_) => None,
        };
        let connections = self.pools.get_or_make((base_url.to_owned(), digest), || {
            let identity = match &credential {
                Credential::Key(_) => None,
                Credential::Certificate(certificate) => Some(certificate.identity().map_err(HttpClientError::Tls)?),
            };
            let pool =
                Connections::open(base_url, &self.http, identity, self.connections, self.streams_per_connection)?;
            Ok::<_, ConnectError>(pool)
        })?;
        let topic = HeaderValue::from_str(&account.topic).map_err(|_| ConnectError::Topic)?;
        Ok(Apns { topic, defaults, base_url: base_url.to_owned(), token, connections })
    }
}

#[async_trait]
impl Vendor for Apns {
    fn kind(&self) -> VendorKind {
        VendorKind::Apns
    }

    fn limits(&self) -> Limits {
        Limits {
            batch: 1,
            title: TextLimit { max: MAX_TITLE_BYTES, counting: Counting::JsonBytes },
            // What is left of the payload, see `fit`.
            body: TextLimit { max: encode::MAX_PAYLOAD_BYTES, counting: Counting::JsonBytes },
            rate: 100_000, // no limit is documented
            rate_unit: RateUnit::Calls,
            quota_reset: QuotaReset::None,
            uses_badge: true,
        }
    }

    fn slots(&self) -> Option<Arc<Semaphore>> {
        Some(self.connections.slots())
    }

    fn message_class(&self, _notification: &Notification) -> String {
        "alert".to_owned()
    }

    fn fit(&self, push: &mut Push) {
        encode::fit(&self.defaults, push, self.limits().title);
    }

    async fn send(&self, push: &Push, targets: &[Target]) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(targets.len());
        for target in targets {
            outcomes.push(self.send_one(push, target).await);
        }
        outcomes
    }

    fn preview(&self, push: &Push, targets: &[Target]) -> Vec<RenderedRequest> {
        let Some(payload) = self.payload(push) else { return Vec::new() };
        let authorization = self.token.as_ref().map(|_| MASKED_TOKEN);
        // What masks a token cannot stand in an address: it is put there afterwards.
        let one = |target: Target| {
            let unnamed = Target { token: String::new(), ..target.clone() };
            let mut shown = rendered_http2(self.request(authorization.as_ref(), push, &unnamed, payload.clone())?)?;
            shown.url.push_str(&target.token);
            Some(shown)
        };
        masked(targets).into_iter().filter_map(one).collect()
    }
}

impl Apns {
    /// Nothing where it is larger than Apple takes: then it is not sent.
    fn payload(&self, push: &Push) -> Option<Bytes> {
        let payload = encode::payload(&self.defaults, push);
        (payload.len() <= encode::MAX_PAYLOAD_BYTES).then(|| payload.into())
    }

    fn request(
        &self,
        authorization: Option<&HeaderValue>,
        push: &Push,
        target: &Target,
        payload: Bytes,
    ) -> Option<Request<Bytes>> {
        let mut request = Request::new(payload);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::try_from(format!("{}/3/device/{}", self.base_url, target.token)).ok()?;
        *request.headers_mut() = encode::headers(&self.topic, &self.defaults, push, target);
        if let Some(authorization) = authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        Some(request)
    }

    async fn send_one(&self, push: &Push, target: &Target) -> Outcome {
        let Some(payload) = self.payload(push) else {
            return Outcome::new(Reason::PayloadRefused).with_code("payload over 4096 bytes, not sent");
        };
        let mut resends = 0;
        let mut has_new_token = false;
        loop {
            let authorization = match self.token.as_ref().map(|token| token.current()).transpose() {
                Ok(authorization) => authorization,
                Err(error) => return Outcome::new(Reason::CertificateRefused).with_code(error.to_string()),
            };
            let connection = self.connections.lease();
            let Some(request) = self.request(authorization.as_ref(), push, target, payload.clone()) else {
                return Outcome::new(Reason::TokenMalformed).with_code("cannot stand in an address, not sent");
            };
            let reply = match connection.client().fetch(request).await {
                Ok(reply) => reply,
                Err(failure) if failure.is_unprocessed && resends < RESENDS => {
                    resends += 1;
                    continue;
                }
                Err(failure) => {
                    if failure.outcome.reason == Reason::TimedOut {
                        connection.timed_out();
                    }
                    return failure.outcome;
                }
            };
            connection.answered();
            let (outcome, advice) = classify::classify(&reply);
            match advice {
                Advice::Keep => {}
                Advice::NewConnection => connection.replace(connections::LEAST_AGE),
                Advice::NewConnections => connection.replace_all(),
                Advice::NewConnectionIfOld => connection.replace(connections::OLD),
                Advice::NewToken => {
                    let is_replaced = self
                        .token
                        .as_ref()
                        .zip(authorization.as_ref())
                        .is_some_and(|(token, used)| token.replace(used));
                    if is_replaced && !has_new_token {
                        has_new_token = true;
                        continue;
                    }
                }
            }
            return outcome;
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;
    use serde_json::json;

    use super::credential::tests::key;
    use super::*;
    use crate::secrets::masked_token;
    use crate::vendor::testing::{built, push, targets};

    fn apns() -> Arc<dyn Vendor> {
        let account = json!({"topic": "com.example.chat", "environment": "production", "key_id": "ABC123DEFG",
            "team_id": "TEAM123456", "key_p8": key("ABC123DEFG", "TEAM123456").pem.expose_secret()});
        built(&ADAPTER, &account, json!({"sound": "ding.caf"}))
    }

    #[tokio::test]
    async fn the_preview_is_a_request_for_each_device_without_the_provider_token() {
        let (push, targets) = (push(&json!({"collapse_id": "m-77"})), targets(&["0a", "0b"]));
        let expected = targets.iter().map(|target| {
            json!({
                "method": "POST",
                "url": format!("https://api.push.apple.com/3/device/{}", masked_token(&target.token)),
                "headers": {
                    "authorization": "bearer ***",
                    "apns-topic": "com.example.chat",
                    "apns-push-type": "alert",
                    "apns-priority": "10",
                    "apns-expiration": "0",
                    "apns-collapse-id": "m-77",
                    "apns-id": target.delivery_id.0.to_string(),
                    "content-type": "application/json",
                },
                "body": {"aps": {"alert": {"title": "小红", "body": "晚上一起吃饭吗？"}, "sound": "ding.caf"}},
            })
        });
        let shown = apns().preview(&push, &targets);
        assert_eq!(serde_json::to_value(&shown).unwrap(), Value::Array(expected.collect()));
    }

    #[tokio::test]
    async fn a_payload_that_is_too_large_to_be_sent_has_no_preview() {
        let push = push(&json!({"body": "x".repeat(4_096)}));
        assert_eq!(apns().preview(&push, &targets(&["0a"])), []);
    }
}
