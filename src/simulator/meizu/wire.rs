//! Meizu's endpoint behind the shared server.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::Method;
use serde_json::{Value, json};

use super::accounts::Accounts;
use super::answer::{self, ACCEPTED, Listed};
use super::ids::message_ids;
use super::send;
use super::world::MeizuWorld;
use crate::simulator::control::read;
use crate::simulator::exchange::Shared;
use crate::simulator::serial::Ids;
use crate::simulator::wire::{Answer, Request, Wire};

const PUSH: &str = "/garcia/api/server/push/varnished/pushByPushId";

/// One stand-in for one host.
pub(super) struct Meizu {
    pub(super) shared: Arc<Shared>,
    pub(super) message_ids: Ids,
    accounts: Mutex<Accounts>,
    scripts: Mutex<VecDeque<Script>>,
}

/// What one of the next pushes says of some targets.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) code: String,
    pub(super) tokens: Vec<String>,
}

impl Script {
    /// The code this target is to be listed under.
    pub(super) fn code_of(&self, target: &str) -> Option<&str> {
        self.tokens.iter().any(|token| token == target).then_some(&self.code)
    }
}

impl Meizu {
    pub(super) fn new(world: MeizuWorld) -> Self {
        let mut accounts = Accounts::new(world.lenient);
        world.apps.into_iter().for_each(|app| accounts.put_app(app));
        Self {
            shared: Arc::new(Shared::new(world.now, world.counters_only, world.latency)),
            message_ids: message_ids(),
            accounts: Mutex::new(accounts),
            scripts: Mutex::default(),
        }
    }

    pub(super) fn accounts(&self) -> MutexGuard<'_, Accounts> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add_script(&self, script: Script) {
        self.scripts().push_back(script);
    }

    /// The script of this push, which is used up.
    pub(super) fn next_script(&self) -> Option<Script> {
        self.scripts().pop_front()
    }

    fn scripts(&self) -> MutexGuard<'_, VecDeque<Script>> {
        self.scripts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wire for Meizu {
    fn kind(&self) -> &'static str {
        "meizu"
    }

    fn endpoint(&self, path: &str) -> &'static str {
        if path == PUSH { PUSH } else { "other" }
    }

    fn answer(&self, request: &Request) -> Answer {
        if request.path != PUSH {
            Answer::not_found()
        } else if request.method != Method::POST {
            Answer::not_allowed()
        } else {
            send::push(self, request).unwrap_or_else(|refusal| answer::refused(&refusal))
        }
    }

    fn refuse(&self, _: &Request, code: &str, reason: Option<&str>) -> Answer {
        match code {
            ACCEPTED => answer::success(&self.message_ids.next(), &Listed::new(), 0, Vec::new()),
            code => answer::failure(code, reason),
        }
    }

    fn tokens(&self, request: &Request) -> Vec<String> {
        let list = request.form().ok().and_then(|form| form.filled("pushIds")).unwrap_or_default();
        list.split(',').filter(|token| !token.is_empty()).map(ToOwned::to_owned).collect()
    }

    fn teach(&self, thing: &str, body: &[u8]) -> Option<Result<(), String>> {
        (thing == "apps").then(|| read(body).map(|app| self.accounts().put_app(app)))
    }

    fn state(&self) -> Value {
        json!({ "apps": self.accounts().len(), "scripted_pushes": self.scripts().len() })
    }
}
