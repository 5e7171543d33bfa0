//! vivo's endpoints behind the shared server.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use super::accounts::Accounts;
use super::answer::{self, BAD_TARGET, InvalidUser, Refusal};
use super::ids::task_ids;
use super::list::SavedList;
use super::world::VivoWorld;
use super::{auth, list, send};
use crate::simulator::access_tokens::AccessTokens;
use crate::simulator::control::read;
use crate::simulator::exchange::Shared;
use crate::simulator::json;
use crate::simulator::saved::SavedBodies;
use crate::simulator::seen::Seen;
use crate::simulator::serial::Ids;
use crate::simulator::wire::{Answer, Request, Wire};

/// vivo's own "internal error": what a scripted code that is no number becomes.
const INTERNAL_ERROR: i64 = 10_102;

/// One stand-in.
pub(super) struct Vivo {
    pub(super) shared: Arc<Shared>,
    pub(super) token_lifetime: Duration,
    pub(super) clock_tolerance: Duration,
    /// Task ids.
    pub(super) message_ids: Ids,
    pub(super) access_tokens: AccessTokens,
    pub(super) seen: Seen,
    pub(super) lists: SavedBodies<SavedList>,
    accounts: Mutex<Accounts>,
    /// What a dead token is refused with, where a test chose it.
    statuses: Mutex<HashMap<String, i64>>,
}

impl Vivo {
    pub(super) fn new(world: VivoWorld) -> Self {
        let mut accounts = Accounts::new(world.lenient);
        world.apps.into_iter().for_each(|app| accounts.put_app(app));
        Self {
            shared: Arc::new(Shared::new(world.now, world.counters_only, world.latency)),
            token_lifetime: world.token_lifetime,
            clock_tolerance: world.clock_tolerance,
            message_ids: task_ids(),
            access_tokens: AccessTokens::default(),
            seen: Seen::default(),
            lists: SavedBodies::default(),
            accounts: Mutex::new(accounts),
            statuses: Mutex::default(),
        }
    }

    pub(super) fn accounts(&self) -> MutexGuard<'_, Accounts> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_status(&self, token: &str, status: i64) {
        self.statuses.lock().unwrap_or_else(PoisonError::into_inner).insert(token.to_owned(), status);
    }

    pub(super) fn status_of(&self, token: &str) -> Option<i64> {
        self.statuses.lock().unwrap_or_else(PoisonError::into_inner).get(token).copied()
    }
}

impl Wire for Vivo {
    fn kind(&self) -> &'static str {
        "vivo"
    }

    fn endpoint(&self, path: &str) -> &'static str {
        const SERVED: [&str; 4] = ["/message/auth", "/message/send", "/message/saveListPayload", "/message/pushToList"];
        SERVED.into_iter().find(|served| *served == path).unwrap_or("other")
    }

    fn answer(&self, request: &Request) -> Answer {
        let answered = match self.endpoint(&request.path) {
            "/message/auth" => auth::auth(self, request),
            "/message/send" => send::send(self, request),
            "/message/saveListPayload" => list::save(self, request),
            "/message/pushToList" => list::push(self, request),
            _ => Err(Refusal::new(404, "unknown path")),
        };
        answered.unwrap_or_else(|refusal| answer::refused(&refusal))
    }

    fn refuse(&self, request: &Request, code: &str, reason: Option<&str>) -> Answer {
        // A code that is no number cannot come from this vendor.
        let code = code.parse().unwrap_or(INTERNAL_ERROR);
        let named = || self.tokens(request).into_iter().next().map(|userid| InvalidUser { status: 2, userid });
        let invalid_user = if code == BAD_TARGET && reason.is_none() { named() } else { None };
        answer::failure(code, reason.unwrap_or_else(|| answer::usual_desc(code)), invalid_user)
    }

    fn tokens(&self, request: &Request) -> Vec<String> {
        let body = json::parse(&request.body).unwrap_or_default();
        let one = |name| json::filled(&body, name).map(|text| vec![text]);
        let many = |name| Some(json::texts(&body, name)).filter(|list| !list.is_empty());
        let named = one("regId").or_else(|| many("regIds")).or_else(|| one("alias")).or_else(|| many("aliases"));
        named.unwrap_or_default().into_iter().map(ToOwned::to_owned).collect()
    }

    fn teach(&self, thing: &str, body: &[u8]) -> Option<Result<(), String>> {
        match thing {
            "apps" => Some(read(body).map(|app| self.accounts().put_app(app))),
            _ => None,
        }
    }

    fn state(&self) -> Value {
        json!({
            "apps": self.accounts().len(),
            "access_tokens_granted": self.access_tokens.granted(),
            "saved_lists": self.lists.len(),
            "request_ids": self.seen.len(),
        })
    }
}
