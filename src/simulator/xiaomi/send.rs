//! The send: every rule of the document in its order, then the devices and their receipts.

use super::answer::{self, Data, Refusal};
use super::extras::{self, Callback};
use super::receipts::{DELIVERED, INVALID, Receipt, SWITCHED_OFF};
use super::wire::Xiaomi;
use super::{fields, gate};
use crate::simulator::form::Form;
use crate::simulator::inbox::{Message, TokenState};
use crate::simulator::wire::{Answer, Request};

/// Answers `POST /v2|v3|v4/message/regid`.
pub(super) fn send(xiaomi: &Xiaomi, request: &Request) -> Result<Answer, Refusal> {
    let secret = gate::secret(request)?;
    xiaomi.accounts().check_secret(secret)?;
    let form = gate::form(request)?;
    let targets = gate::targets(form, "registration_id")?;
    let packages = gate::packages(form, &request.path);
    xiaomi.accounts().check_packages(secret, &packages)?;
    let package = packages.first().copied().unwrap_or_default();

    let mut fields = fields::read(form, xiaomi.checks_notify_id)?;
    extras::check_own(form)?;
    let callback = extras::callback(form, &mut fields.warnings)?;
    let jobkey = extras::jobkey(form, &mut fields.warnings);

    let channel_id = form.filled("extra.channel_id");
    let mut accounts = xiaomi.accounts();
    let channel = accounts.channel(secret, package, channel_id)?;
    if channel.is_none() && channel_id.is_some() {
        fields.warnings.push("extra.channel_id is unknown: sent in the default class".into());
    }
    if let Some(template_id) = form.filled("extra.template_id") {
        extras::check_template(form, accounts.template(package, template_id)?)?;
    }
    accounts.take_rate(secret, request.at_ms)?;
    let quota = accounts.quota(secret, package, channel.as_ref(), request.at_ms)?;

    let states = judge(xiaomi, &targets);
    let (dead, taken): (Vec<_>, Vec<_>) =
        targets.into_iter().zip(states).partition(|target| matches!(target.1, TokenState::Dead | TokenState::Expired));
    if taken.is_empty() {
        return Err(Refusal::new(20_301, "No valid targets!"));
    }
    if let Some(quota) = &quota {
        accounts.spend(quota, taken.len(), request.at_ms);
    }
    drop(accounts);

    let id = xiaomi.message_ids.next();
    let message = if xiaomi.shared.inboxes.is_counters_only() {
        counted(&fields)
    } else {
        let message_id = id.clone();
        let (app, channel) = (package.to_owned(), channel.map(|channel| channel.id));
        let dedupe_key = jobkey.map(ToOwned::to_owned);
        Message { message_id, app, channel, dedupe_key, at_ms: request.at_ms, ..message(form, &fields) }
    };
    xiaomi.shared.inboxes.deliver(&taken, message);
    if let Some(callback) = &callback {
        let jobkey = jobkey.unwrap_or_default();
        xiaomi.receipts.queue(callback, receipts(callback, &id, jobkey, &taken, request.at_ms));
    }

    let data = Data {
        id,
        bad_regids: (!dead.is_empty()).then(|| join(&dead, |_| true)),
        day_quota: quota.as_ref().map(|quota| quota.limit.to_string()),
        day_acked: quota.as_ref().map(|quota| quota.acked.to_string()),
    };
    Ok(answer::success(&xiaomi.trace_ids.next(), &data, taken.len(), fields.warnings))
}

/// The state of each target; one with a blank in it is what a raw `+` in the form becomes, so no token of anybody.
fn judge(xiaomi: &Xiaomi, targets: &[&str]) -> Vec<TokenState> {
    let mut states = xiaomi.shared.inboxes.states(targets, &xiaomi.region);
    for (state, target) in states.iter_mut().zip(targets) {
        if target.bytes().any(|byte| byte <= b' ') {
            *state = TokenState::Dead;
        }
    }
    states
}

/// What of a message is counted under load.
fn counted(fields: &fields::Fields<'_>) -> Message {
    Message {
        payload: fields.payload.map(ToOwned::to_owned),
        notify_id: Some(fields.notify_id.to_owned()),
        ..Message::default()
    }
}

fn message(form: &Form, fields: &fields::Fields<'_>) -> Message {
    Message {
        title: fields.title.to_owned(),
        body: fields.description.to_owned(),
        extras: extras::pairs(form).map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        ttl_ms: fields.ttl_ms,
        data_only: fields.data_only,
        ..counted(fields)
    }
}

/// The receipts that come by themselves, as far as they were asked for.
fn receipts(
    callback: &Callback,
    message_id: &str,
    jobkey: &str,
    targets: &[(&str, TokenState)],
    timestamp: i64,
) -> Vec<Receipt> {
    let kinds = [
        (DELIVERED, TokenState::Alive, "Enable"),
        (INVALID, TokenState::DeadLater, "Unknown"),
        (SWITCHED_OFF, TokenState::Off, "Disable"),
    ];
    let asked = kinds.into_iter().filter(|kind| callback.types & kind.0 != 0);
    asked
        .filter_map(|(kind, state, bar_status)| {
            let targets = join(targets, |found| found == state);
            (!targets.is_empty()).then(|| Receipt {
                message_id: message_id.to_owned(),
                param: callback.param.clone(),
                kind,
                targets,
                jobkey: jobkey.to_owned(),
                bar_status,
                timestamp,
            })
        })
        .collect()
}

fn join(targets: &[(&str, TokenState)], wanted: impl Fn(TokenState) -> bool) -> String {
    let tokens: Vec<_> = targets.iter().filter(|target| wanted(target.1)).map(|target| target.0).collect();
    tokens.join(",")
}
