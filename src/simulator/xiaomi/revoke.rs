//! The recall: takes a notification off the devices by its `notify_id` (document, section 10).

use super::answer::{self, Data, Refusal};
use super::wire::Xiaomi;
use super::{fields, gate};
use crate::simulator::inbox::TokenState;
use crate::simulator::wire::{Answer, Request};

/// Answers `POST /v1/message/regid/revoke`.
pub(super) fn revoke(xiaomi: &Xiaomi, request: &Request) -> Result<Answer, Refusal> {
    let secret = gate::secret(request)?;
    xiaomi.accounts().check_secret(secret)?;
    let form = gate::form(request)?;
    let targets = gate::targets(form, "registration_ids")?;
    let packages = gate::packages(form, &request.path);
    xiaomi.accounts().check_packages(secret, &packages)?;
    let notify_id = form.filled("notify_id").filter(|text| fields::is_notify_id(text));
    let notify_id = notify_id.ok_or(Refusal::new(22_103, "notify_id is not in 0..=2147483647"))?;

    let states = xiaomi.shared.inboxes.states(&targets, &xiaomi.region);
    let (dead, taken): (Vec<_>, Vec<_>) =
        targets.into_iter().zip(states).partition(|target| target.1 == TokenState::Dead);
    if taken.is_empty() {
        return Err(Refusal::new(20_301, "No valid targets!"));
    }
    let taken: Vec<_> = taken.into_iter().map(|target| target.0).collect();
    let dead: Vec<_> = dead.into_iter().map(|target| target.0).collect();
    xiaomi.shared.inboxes.recall(&taken, notify_id);
    let data = Data {
        id: xiaomi.message_ids.next(),
        bad_regids: (!dead.is_empty()).then(|| dead.join(",")),
        day_quota: None,
        day_acked: None,
    };
    Ok(answer::success(&xiaomi.trace_ids.next(), &data, taken.len(), Vec::new()))
}
