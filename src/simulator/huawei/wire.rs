//! Huawei's endpoints behind the shared server.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::Method;
use serde_json::{Value, json};

use super::accounts::Accounts;
use super::answer::{self, SOME_BAD};
use super::ids::request_ids;
use super::world::{HuaweiStatus, HuaweiWorld};
use super::{gate, oauth, send};
use crate::simulator::access_tokens::AccessTokens;
use crate::simulator::control::read;
use crate::simulator::exchange::Shared;
use crate::simulator::json;
use crate::simulator::serial::Ids;
use crate::simulator::wire::{Answer, Request, Wire};

/// One stand-in for both hosts, the token endpoint's and the push server's.
pub(super) struct Huawei {
    pub(super) shared: Arc<Shared>,
    pub(super) token_lifetime: Duration,
    pub(super) business_status: HuaweiStatus,
    pub(super) access_tokens: AccessTokens,
    /// For what is accepted.
    pub(super) message_ids: Ids,
    /// For what is refused.
    pub(super) refusal_ids: Ids,
    accounts: Mutex<Accounts>,
}

impl Huawei {
    pub(super) fn new(world: HuaweiWorld) -> Self {
        let mut accounts = Accounts::new(world.lenient);
        world.apps.into_iter().for_each(|app| accounts.put_app(app));
        Self {
            shared: Arc::new(Shared::new(world.now, world.counters_only, world.latency)),
            token_lifetime: world.token_lifetime,
            business_status: world.business_status,
            access_tokens: AccessTokens::default(),
            message_ids: request_ids(),
            refusal_ids: request_ids(),
            accounts: Mutex::new(accounts),
        }
    }

    pub(super) fn accounts(&self) -> MutexGuard<'_, Accounts> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wire for Huawei {
    fn kind(&self) -> &'static str {
        "huawei"
    }

    fn endpoint(&self, path: &str) -> &'static str {
        match path {
            "/oauth2/v3/token" => "/oauth2/v3/token",
            "/oauth2/v2/token" => "/oauth2/v2/token",
            path if gate::client_id(path).is_some() => "/v1/messages:send",
            _ => "other",
        }
    }

    fn answer(&self, request: &Request) -> Answer {
        let client_id = gate::client_id(&request.path);
        match (self.endpoint(&request.path), client_id) {
            ("other", _) => Answer::not_found(),
            _ if request.method != Method::POST => Answer::not_allowed(),
            (_, None) => oauth::answer(self, request),
            (_, Some(client_id)) => send::send(self, request, client_id)
                .unwrap_or_else(|refusal| answer::refused(&self.refusal_ids.next(), &refusal, self.business_status)),
        }
    }

    fn refuse(&self, request: &Request, code: &str, reason: Option<&str>) -> Answer {
        if self.endpoint(&request.path).starts_with("/oauth2/") {
            return oauth::refuse(code, reason);
        }
        let request_id = self.refusal_ids.next();
        match (code, reason) {
            (SOME_BAD, None) => {
                let tokens = self.tokens(request);
                let tokens: Vec<_> = tokens.iter().map(String::as_str).collect();
                answer::some_bad(&request_id, 0, &tokens)
            }
            _ => answer::failure(&request_id, code, reason, self.business_status),
        }
    }

    fn tokens(&self, request: &Request) -> Vec<String> {
        let body = json::parse(&request.body).unwrap_or_default();
        json::texts(json::section(&body, "message"), "token").into_iter().map(ToOwned::to_owned).collect()
    }

    fn teach(&self, thing: &str, body: &[u8]) -> Option<Result<(), String>> {
        (thing == "apps").then(|| read(body).map(|app| self.accounts().put_app(app)))
    }

    fn state(&self) -> Value {
        json!({ "apps": self.accounts().len(), "access_tokens_granted": self.access_tokens.granted() })
    }
}
