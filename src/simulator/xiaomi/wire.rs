//! Xiaomi's endpoints behind the shared server.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use super::accounts::Accounts;
use super::ids::{message_ids, trace_ids};
use super::receipts::Receipts;
use super::world::XiaomiWorld;
use super::{answer, revoke, send};
use crate::simulator::control::read;
use crate::simulator::exchange::Shared;
use crate::simulator::serial::Ids;
use crate::simulator::wire::{Answer, Request, Wire};

/// One stand-in for one region's host.
pub(super) struct Xiaomi {
    pub(super) shared: Arc<Shared>,
    pub(super) region: String,
    pub(super) checks_notify_id: bool,
    pub(super) message_ids: Ids,
    pub(super) trace_ids: Ids,
    pub(super) receipts: Arc<Receipts>,
    accounts: Mutex<Accounts>,
}

impl Xiaomi {
    pub(super) fn new(world: XiaomiWorld) -> Self {
        let mut accounts = Accounts::new(world.lenient);
        world.apps.into_iter().for_each(|app| accounts.put_app(app));
        world.channels.into_iter().for_each(|channel| accounts.put_channel(channel));
        world.templates.into_iter().for_each(|template| accounts.put_template(template));
        Self {
            shared: Arc::new(Shared::new(world.now, world.counters_only, world.latency)),
            region: world.region,
            checks_notify_id: world.checks_notify_id,
            message_ids: message_ids(),
            trace_ids: trace_ids(),
            receipts: Arc::new(Receipts::new(world.receipt_delay)),
            accounts: Mutex::new(accounts),
        }
    }

    pub(super) fn accounts(&self) -> MutexGuard<'_, Accounts> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wire for Xiaomi {
    fn kind(&self) -> &'static str {
        "xiaomi"
    }

    fn endpoint(&self, path: &str) -> &'static str {
        const SERVED: [&str; 4] =
            ["/v3/message/regid", "/v2/message/regid", "/v4/message/regid", "/v1/message/regid/revoke"];
        SERVED.into_iter().find(|served| *served == path).unwrap_or("other")
    }

    fn answer(&self, request: &Request) -> Answer {
        let answered = match self.endpoint(&request.path) {
            "other" => return Answer::not_found(),
            "/v1/message/regid/revoke" => revoke::revoke(self, request),
            _ => send::send(self, request),
        };
        answered.unwrap_or_else(|refusal| answer::refused(&self.trace_ids.next(), &refusal))
    }

    fn refuse(&self, _: &Request, code: &str, reason: Option<&str>) -> Answer {
        // A code that is no number cannot come from this vendor; -1 is its "unknown error".
        let code = code.parse().unwrap_or(-1);
        answer::failure(&self.trace_ids.next(), code, reason.unwrap_or_else(|| answer::usual_reason(code)))
    }

    fn tokens(&self, request: &Request) -> Vec<String> {
        let Ok(form) = request.form() else { return Vec::new() };
        let lists = ["registration_id", "registration_ids"].into_iter().filter_map(|name| form.filled(name));
        lists.flat_map(|list| list.split(',')).map(ToOwned::to_owned).collect()
    }

    fn teach(&self, thing: &str, body: &[u8]) -> Option<Result<(), String>> {
        Some(match thing {
            "apps" => read(body).map(|app| self.accounts().put_app(app)),
            "channels" => read(body).map(|channel| self.accounts().put_channel(channel)),
            "templates" => read(body).map(|template| self.accounts().put_template(template)),
            _ => return None,
        })
    }

    fn state(&self) -> Value {
        let (apps, channels, templates) = self.accounts().sizes();
        let (sent, failed, withheld) = self.receipts.counts();
        json!({
            "region": self.region,
            "apps": apps,
            "channels": channels,
            "templates": templates,
            "receipts": { "sent": sent, "failed": failed, "withheld": withheld },
        })
    }
}
