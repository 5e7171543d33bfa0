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

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;

use super::controls::Standin;
use super::server::StartError;
use wire::Oppo;
pub use world::{OppoApp, OppoWorld};

/// The handle of a running stand-in. Clones share it; it ends with `stop` or with the last clone.
#[derive(Clone)]
pub struct OppoSimulator {
    standin: Standin,
    oppo: Arc<Oppo>,
}

impl Deref for OppoSimulator {
    type Target = Standin;

    fn deref(&self) -> &Standin {
        &self.standin
    }
}

impl OppoSimulator {
    /// Starts on a loopback address; port 0 takes any free port.
    ///
    /// # Errors
    /// [`StartError`]: not a loopback address, or the port is taken.
    pub async fn start(addr: SocketAddr, world: OppoWorld) -> Result<Self, StartError> {
        let oppo = Arc::new(Oppo::new(world));
        let standin = Standin::start(addr, oppo.clone(), &oppo.shared).await?;
        Ok(Self { standin, oppo })
    }

    /// Makes an app known with its limits, in place of one with the same key.
    pub fn put_app(&self, app: OppoApp) {
        self.oppo.accounts().put_app(app);
    }

    /// Whether this stand-in gave out this message id (`messageId`, or `message_id` of a saved body).
    pub fn has_message_id(&self, id: &str) -> bool {
        self.oppo.message_ids.has_issued(id)
    }

    /// All access tokens given out so far are over 24 hours old.
    pub fn expire_access_tokens(&self) {
        self.oppo.access_tokens.expire_all();
    }

    /// All access tokens given out so far are unknown.
    pub fn revoke_access_tokens(&self) {
        self.oppo.access_tokens.revoke_all();
    }

    /// How many access tokens were given out since the start.
    pub fn access_tokens_granted(&self) -> u64 {
        self.oppo.access_tokens.granted()
    }
}
