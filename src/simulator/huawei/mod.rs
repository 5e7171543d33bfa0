//! A stand-in for Huawei's token endpoint and its push server for Android, version 1.
//!
//! `POST /oauth2/v2|v3/token` and `POST /v1/{clientId}/messages:send`, checked by `docs/vendors/huawei.md`, parts A and F.
//! Its address stands for both of the vendor's hosts. What this stand-in adds to the document:
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
mod fleet;
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

use super::handle::{access_tokens, handle};
use wire::Huawei;
pub use world::{HuaweiApp, HuaweiStatus, HuaweiWorld};

handle!(HuaweiSimulator, huawei: Huawei, HuaweiWorld, HuaweiApp);
access_tokens!(HuaweiSimulator, huawei);

impl HuaweiSimulator {
    /// Says which app, by its client id, a device token belongs to. For any other app it is illegal.
    pub fn set_token_app(&self, token: &str, client_id: &str) {
        self.huawei.shared.inboxes.set_app(token, client_id);
    }
}
