//! A stand-in for Xiaomi's push server, one region of it.
//!
//! `POST /v2|v3|v4/message/regid` and `POST /v1/message/regid/revoke`, checked by `docs/vendors/xiaomi.md`, section 13.
//! What this stand-in adds to it: a negative `time_to_live`, and an empty id between commas, are 10017; an id with a blank
//! in it is an invalid target; 65037 means too long and 65038 not a URL.

mod accounts;
mod answer;
mod extras;
mod fields;
mod fleet;
mod gate;
mod ids;
mod receipts;
mod revoke;
mod send;
mod symbols;
#[cfg(test)]
mod tests;
mod wire;
mod world;

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;

use super::controls::Standin;
use super::server::StartError;
use receipts::{CLICKED, Receipt};
use url::Url;
use wire::Xiaomi;
pub use world::{ChannelClass, XiaomiApp, XiaomiChannel, XiaomiTemplate, XiaomiWorld};

/// The handle of a running stand-in. Clones share it; it ends with [`stop`](Self::stop) or with the last clone.
#[derive(Clone)]
pub struct XiaomiSimulator {
    server: Arc<Server>,
    xiaomi: Arc<Xiaomi>,
}

struct Server {
    standin: Standin,
    receipts: Arc<receipts::Receipts>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.receipts.stop();
    }
}

impl Deref for XiaomiSimulator {
    type Target = Standin;

    fn deref(&self) -> &Standin {
        &self.server.standin
    }
}

impl XiaomiSimulator {
    /// Starts on a loopback address; port 0 takes any free port. Its address is Rouse's setting `vendors.xiaomi.cn`.
    ///
    /// # Errors
    /// [`StartError`]: not a loopback address, or the port is taken.
    pub async fn start(addr: SocketAddr, world: XiaomiWorld) -> Result<Self, StartError> {
        let xiaomi = Arc::new(Xiaomi::new(world));
        let standin = Standin::start(addr, xiaomi.clone(), &xiaomi.shared).await?;
        let server = Server { standin, receipts: Arc::clone(&xiaomi.receipts) };
        Ok(Self { server: Arc::new(server), xiaomi })
    }

    /// Ends it: open connections are reset, receipts that wait are dropped, and the port is free again.
    pub async fn stop(&self) {
        self.xiaomi.receipts.stop();
        self.server.standin.stop().await;
    }

    /// Makes an app known, or adds a package to a known one.
    pub fn add_app(&self, secret: &str, package: &str) {
        self.xiaomi.accounts().add_package(secret, package);
    }

    /// Makes an app known with its limits, in place of one with the same secret.
    pub fn put_app(&self, app: XiaomiApp) {
        self.xiaomi.accounts().put_app(app);
    }

    /// Makes a channel known, in place of one of the same package and id.
    pub fn add_channel(&self, channel: XiaomiChannel) {
        self.xiaomi.accounts().put_channel(channel);
    }

    /// Makes a message template known.
    pub fn add_template(&self, template: XiaomiTemplate) {
        self.xiaomi.accounts().put_template(template);
    }

    /// Says where a token's device lives. In another region than this host's it is dead here.
    pub fn set_token_region(&self, token: &str, region: &str) {
        self.xiaomi.shared.inboxes.set_region(token, region);
    }

    /// Whether this stand-in gave out this message id (`data.id`).
    pub fn has_message_id(&self, id: &str) -> bool {
        self.xiaomi.message_ids.has_issued(id)
    }

    /// Receipts posted and taken, posted in vain, and withheld because their host is not this machine.
    pub fn receipt_counts(&self) -> (u64, u64, u64) {
        self.xiaomi.receipts.counts()
    }

    /// Returns when no receipt waits to be posted.
    pub async fn receipts_settled(&self) {
        self.xiaomi.receipts.settled().await;
    }

    /// Posts the receipts that wait for their delay now, and returns when that is done.
    pub async fn flush_receipts(&self) {
        self.xiaomi.receipts.hurry().await;
    }

    /// The user of this device taps a notification: posts receipt 2 if its sender asked for it. False when the inbox does
    /// not hold the message, or nobody wants to know.
    pub fn click(&self, token: &str, message_id: &str) -> bool {
        self.send_receipt(token, message_id, CLICKED)
    }

    /// Posts a receipt of any one type (1, 2, 16, 32, 64, 128, 1024) for a message in this device's inbox, as far as its
    /// sender asked for that type. False when not.
    pub fn send_receipt(&self, token: &str, message_id: &str, kind: u32) -> bool {
        let inbox = self.inbox(token);
        let Some(received) = inbox.iter().find(|received| received.message_id == message_id) else { return false };
        let extra = |name: &str| received.extras.get(name).map_or("", String::as_str);
        let Ok(url) = Url::parse(extra("callback")) else { return false };
        let types = extra("callback.type").parse().unwrap_or(3);
        if types & kind == 0 {
            return false;
        }
        let callback = extras::Callback { url, param: extra("callback.param").to_owned(), types };
        let receipt = Receipt {
            message_id: message_id.to_owned(),
            param: callback.param.clone(),
            kind,
            targets: token.to_owned(),
            jobkey: extra("jobkey").to_owned(),
            bar_status: "Enable",
            timestamp: (self.xiaomi.shared.now)(),
        };
        self.xiaomi.receipts.queue(&callback, vec![receipt]);
        true
    }
}
