//! OPPO's endpoints behind the shared server.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use super::accounts::Accounts;
use super::answer::{self, Refusal};
use super::ids::MessageIds;
use super::world::OppoWorld;
use super::{auth, batch, broadcast, unicast};
use crate::simulator::access_tokens::AccessTokens;
use crate::simulator::control::read;
use crate::simulator::exchange::Shared;
use crate::simulator::inbox::Message;
use crate::simulator::saved::SavedBodies;
use crate::simulator::seen::Seen;
use crate::simulator::wire::{Answer, Request, Wire};

const AUTH: &str = "/server/v1/auth";
const UNICAST: &str = "/server/v1/message/notification/unicast";
const BATCH: &str = "/server/v1/message/notification/unicast_batch";
const SAVE: &str = "/server/v1/message/notification/save_message_content";
const BROADCAST: &str = "/server/v1/message/notification/broadcast";

/// OPPO's "service unavailable": what a scripted code that is no number becomes.
const UNAVAILABLE: i64 = -1;

/// One stand-in for one region's host.
pub(super) struct Oppo {
    pub(super) shared: Arc<Shared>,
    pub(super) region: String,
    pub(super) token_lifetime: Duration,
    pub(super) clock_tolerance: Duration,
    pub(super) content_limit: usize,
    pub(super) message_ids: MessageIds,
    pub(super) access_tokens: AccessTokens,
    pub(super) seen: Seen,
    pub(super) saved: SavedBodies<Message>,
    accounts: Mutex<Accounts>,
}

impl Oppo {
    pub(super) fn new(world: OppoWorld) -> Self {
        let mut accounts = Accounts::new(world.lenient);
        world.apps.into_iter().for_each(|app| accounts.put_app(app));
        Self {
            shared: Arc::new(Shared::new(world.now, world.counters_only, world.latency)),
            region: world.region,
            token_lifetime: world.token_lifetime,
            clock_tolerance: world.clock_tolerance,
            content_limit: world.content_limit,
            message_ids: MessageIds::new(),
            access_tokens: AccessTokens::default(),
            seen: Seen::default(),
            saved: SavedBodies::default(),
            accounts: Mutex::new(accounts),
        }
    }

    pub(super) fn accounts(&self) -> MutexGuard<'_, Accounts> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wire for Oppo {
    fn kind(&self) -> &'static str {
        "oppo"
    }

    fn endpoint(&self, path: &str) -> &'static str {
        [AUTH, UNICAST, BATCH, SAVE, BROADCAST].into_iter().find(|served| *served == path).unwrap_or("other")
    }

    fn answer(&self, request: &Request) -> Answer {
        let answered = match self.endpoint(&request.path) {
            AUTH => auth::auth(self, request),
            UNICAST => unicast::unicast(self, request),
            BATCH => batch::batch(self, request),
            SAVE => broadcast::save(self, request),
            BROADCAST => broadcast::broadcast(self, request),
            _ => Err(Refusal::new(404, "unknown path")),
        };
        answered.unwrap_or_else(|refusal| answer::refused(&refusal))
    }

    fn refuse(&self, _: &Request, code: &str, reason: Option<&str>) -> Answer {
        // A code that is no number cannot come from this vendor.
        let code = code.parse().unwrap_or(UNAVAILABLE);
        answer::failure(code, reason.or(answer::usual_message(code)).unwrap_or("error"))
    }

    fn tokens(&self, request: &Request) -> Vec<String> {
        let Ok(form) = request.form() else { return Vec::new() };
        if let Some(targets) = form.filled("target_value") {
            return targets.split(';').map(ToOwned::to_owned).collect();
        }
        let parsed = |name| form.filled(name).and_then(|text| serde_json::from_str::<Value>(text).ok());
        let messages = match (parsed("message"), parsed("messages")) {
            (Some(message), _) => vec![message],
            (None, Some(Value::Array(messages))) => messages,
            _ => Vec::new(),
        };
        let target = |message: &Value| message.get("target_value").and_then(Value::as_str).map(ToOwned::to_owned);
        messages.iter().filter_map(target).collect()
    }

    fn teach(&self, thing: &str, body: &[u8]) -> Option<Result<(), String>> {
        match thing {
            "apps" => Some(read(body).map(|app| self.accounts().put_app(app))),
            _ => None,
        }
    }

    fn state(&self) -> Value {
        json!({
            "region": self.region,
            "apps": self.accounts().len(),
            "access_tokens_granted": self.access_tokens.granted(),
            "saved_bodies": self.saved.len(),
            "app_message_ids": self.seen.len(),
        })
    }
}
