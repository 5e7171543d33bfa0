//! A stand-in for vivo's push server.
//!
//! `POST /message/auth`, `/message/send`, `/message/saveListPayload` and `/message/pushToList`, checked by
//! `docs/vendors/vivo.md`, section 11. What this stand-in adds to it, where the document is silent:
//!
//! - Codes: auth refuses a member that is missing or of the wrong type with 10200 (`appId`), 10201 (`appKey`), 10202
//!   (`timestamp`), 10203 (`sign`), an unknown app with 10204, another app's key with 10206. A send refuses `notifyType` with
//!   10054, an empty and a too long title with 10055 and 10056, content with 10058 and 10059, more than 10 pairs of app data
//!   with 10066, more than 1024 characters of it with 10067; any other value out of its range with 10050.
//! - Blanks are an empty title. Lengths other than those of title and content are counted in UTF-16 units.
//! - `extra` with a key that is not its own, with both receipt schemes, or with a value over its length is 10050.
//! - Dead: status 2. Expired, and a token of another app: status 1. In a list they are left out and named.
//! - An alias is a device of that name. A target named twice in a list receives once.
//! - A task id that is unknown, of another app or a day old is 10050. A rate counts messages.
//! - A scripted 400..=599 is that HTTP status; a scripted 10302 names the request's token as uninstalled, unless the
//!   script gives a text of its own.

mod accounts;
mod answer;
mod auth;
mod checks;
mod class;
mod fields;
mod fleet;
mod gate;
mod ids;
mod list;
mod send;
mod targets;
#[cfg(test)]
mod tests;
mod wire;
mod world;

use super::handle::{access_tokens, handle};
use super::inbox::TokenState;
use wire::Vivo;
pub use world::{VivoApp, VivoWorld};

handle!(VivoSimulator, vivo: Vivo, VivoWorld, VivoApp);
access_tokens!(VivoSimulator, vivo);

impl VivoSimulator {
    /// From now on a send to this token is refused with this `invalidUser.status`: 1 unknown, 2 uninstalled, 3 long
    /// offline, 4 no test device, or any other.
    pub fn mark_invalid(&self, token: &str, status: i64) {
        self.vivo.set_status(token, status);
        self.mark_token(token, TokenState::Dead);
    }
}
