//! A stand-in for Huawei's token endpoint and its push server for Android, version 1.
//!
//! `POST /oauth2/v2|v3/token` and `POST /v1/{clientId}/messages:send`, checked by `docs/vendors/huawei.md`, parts A and F.
//! What this stand-in adds to it:
//!
//! - another method than POST is 405; a content type that is not JSON in UTF-8 is 80100001;
//! - a token request that is no form, or for another grant, is 1101 / 20001;
//! - a `ttl` that is no number of seconds, or over the maximum, is 80100003, one below a second 80100004; everything else
//!   in the message that is out of its range is 80100003;
//! - a `message` or a list of tokens that is missing altogether counts as no token: 80300010; two kinds of target are
//!   80100003, and a topic or a condition is accepted for nobody, with a warning;
//! - no app has the right to `HIGH`: 80300011;
//! - a device token that is empty or has a blank in it is illegal;
//! - no HTTP status of a code is published: 401 for 80200001, 80200003 and 80200005, 500 for 81000001, 400 for others.

mod accounts;
mod answer;
mod gate;
mod ids;
mod looks;
mod message;
mod notification;
mod oauth;
mod seconds;
mod send;
#[cfg(test)]
mod tests;
mod wire;
mod world;

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;

use super::controls::Standin;
use super::server::StartError;
use wire::Huawei;
pub use world::{HuaweiApp, HuaweiStatus, HuaweiWorld};

/// The handle of a running stand-in. Clones share it; it ends with [`stop`](Standin::stop) or with the last clone.
#[derive(Clone)]
pub struct HuaweiSimulator {
    standin: Standin,
    huawei: Arc<Huawei>,
}

impl Deref for HuaweiSimulator {
    type Target = Standin;

    fn deref(&self) -> &Standin {
        &self.standin
    }
}

impl HuaweiSimulator {
    /// Starts on a loopback address; port 0 takes any free port. Its address stands for both of the vendor's hosts.
    ///
    /// # Errors
    /// [`StartError`]: not a loopback address, or the port is taken.
    pub async fn start(addr: SocketAddr, world: HuaweiWorld) -> Result<Self, StartError> {
        let huawei = Arc::new(Huawei::new(world));
        let standin = Standin::start(addr, huawei.clone(), &huawei.shared).await?;
        Ok(Self { standin, huawei })
    }

    /// Makes an app known with its limits, in place of one with the same client id.
    pub fn put_app(&self, app: HuaweiApp) {
        self.huawei.accounts().put_app(app);
    }

    /// Says which app, by its client id, a device token belongs to. For any other app it is illegal.
    pub fn set_token_app(&self, token: &str, client_id: &str) {
        self.huawei.shared.inboxes.set_app(token, client_id);
    }

    /// Whether this stand-in gave out this id (`requestId`) for a message it accepted.
    pub fn has_message_id(&self, id: &str) -> bool {
        self.huawei.message_ids.has_issued(id)
    }

    /// All access tokens given out so far are over: the next send with one is answered 80200003.
    pub fn expire_access_tokens(&self) {
        self.huawei.access_tokens.expire_all();
    }

    /// All access tokens given out so far are unknown: the next send with one is answered 80200001.
    pub fn revoke_access_tokens(&self) {
        self.huawei.access_tokens.revoke_all();
    }

    /// How many access tokens were given out since the start.
    pub fn access_tokens_granted(&self) -> u64 {
        self.huawei.access_tokens.granted()
    }
}
