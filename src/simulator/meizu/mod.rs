//! A stand-in for Meizu's push server.
//!
//! `POST /garcia/api/server/push/varnished/pushByPushId`, checked by `docs/vendors/meizu.md`, sections 2 to 5 and 10. What
//! this stand-in adds to it:
//!
//! - where the document has a convention of its own for a code, that one;
//! - `noticeMsgType`, `noticeBarType`, `noticeExpandType`, `vipInfo`, `fixDisplay` and `callback.type` out of their ranges
//!   are 1005, and so are more than 50 package names, and texts of a click over 1000 bytes;
//! - a `validTime` of 0 is out of its range while `offLine` is on; without one it is 24;
//! - an id is malformed (110003) when it is empty or has anything but letters and digits in it; ids of any length pass;
//! - the rate counts requests, the total of a day counts accepted targets, the public class and folding count what a device
//!   was sent;
//! - a token of another app is not subscribed: 110002;
//! - an id named twice is delivered twice, with a warning; so are members of `messageJson` that the document does not have,
//!   retired kinds, and values of `parameters` that are no texts.

mod accounts;
mod answer;
mod fleet;
mod gate;
mod ids;
mod message;
mod send;
mod sign;
#[cfg(test)]
mod tests;
mod wire;
mod world;

use super::handle::handle;
use wire::{Meizu, Script};
pub use world::{MeizuApp, MeizuWorld};

handle!(MeizuSimulator, meizu: Meizu, MeizuWorld, MeizuApp);

impl MeizuSimulator {
    /// Says which app, by its id or one of its packages, a device token belongs to. For any other app it is dead.
    pub fn set_token_app(&self, token: &str, app: &str) {
        self.meizu.shared.inboxes.set_app(token, app);
    }

    /// The next push that is accepted lists these device tokens under this code in `value`, and its other targets are
    /// judged as usual. Under `200` they are accepted all the same. Said more than once, each is for one push, in order.
    pub fn answer_targets_next(&self, code: &str, tokens: &[&str]) {
        let tokens = tokens.iter().map(ToString::to_string).collect();
        self.meizu.add_script(Script { code: code.to_owned(), tokens });
    }
}
