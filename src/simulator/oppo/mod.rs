//! A stand-in for OPPO's push server, one region of it.
//!
//! `POST /server/v1/auth` and, under `/server/v1/message/notification/`, `unicast`, `unicast_batch`, `save_message_content`
//! and `broadcast`, checked by `docs/vendors/oppo.md`, section 11. What this stand-in adds to it, where the document is
//! silent:
//!
//! - A signed timestamp may be off by the tolerance in both directions. Auth does not end earlier tokens.
//! - A batch that is no list of 1..=1000 is 41; what is wrong with one of its messages stands in that message's entry,
//!   which has an id all the same. Rates (55) and the day's total (33) count messages and refuse the call as a whole; more
//!   than a second's worth needs a full bucket.
//! - Blanks are an empty title. The values in `action_parameters` are texts, others are 41.
//! - A length, a range or a URL that is wrong is 41, a member that is missing 40. `notify_id` is a 32-bit integer.
//! - A missing category, an old-style length and template parameters that are an object pass with a warning.
//! - Expired and an id of the other region: 10000. Dead, dead later, and an id of another app: accepted, never shown.
//! - An alias is a device of that name. Without `off_line` the time to live is zero.
//! - A saved body that is unknown, of another app or a day old is 31. Targets of a broadcast named twice receive once.
//! - A scripted 400..=599 is that HTTP status; a code that is no number becomes -1.

mod accounts;
mod answer;
mod auth;
mod batch;
mod broadcast;
mod checks;
mod deliver;
mod fleet;
mod gate;
mod ids;
mod item;
mod notification;
mod registration;
#[cfg(test)]
mod tests;
mod unicast;
mod wire;
mod world;

use super::handle::{access_tokens, handle};
use wire::Oppo;
pub use world::{OppoApp, OppoWorld};

handle!(OppoSimulator, oppo: Oppo, OppoWorld, OppoApp);
access_tokens!(OppoSimulator, oppo);
