//! Xiaomi among all vendors.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{ChannelClass, XiaomiApp, XiaomiChannel, XiaomiSimulator, XiaomiWorld};
use crate::simulator::controls::Controls;
use crate::simulator::fleet::{AccountError, FleetMember, Running, from_basics, secret_of};

const KIND: &str = "xiaomi";
/// The channel of chat messages, without a limit.
const CHAT_CHANNEL: &str = "120001";
/// How much news each package may send a day: few, so that one sees what happens then.
const NEWS_QUOTA: u64 = 8;

from_basics!(XiaomiWorld);

impl XiaomiSimulator {
    /// The channel of news that every account opened by [`FleetMember::open_account`] has, with a small daily quota.
    pub const NEWS_CHANNEL: &str = "120002";
}

#[async_trait]
impl Running for XiaomiSimulator {
    fn controls(&self) -> &Controls {
        self
    }

    fn url(&self) -> String {
        self.server.standin.url()
    }

    fn has_message_id(&self, id: &str) -> bool {
        self.xiaomi.message_ids.has_issued(id)
    }

    async fn stop(&self) {
        Self::stop(self).await; // its own, which ends the receipts too
    }
}

impl FleetMember for XiaomiSimulator {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn settings(&self) -> Vec<String> {
        vec![format!("xiaomi.{}", self.xiaomi.region)]
    }

    fn open_account(&self, package: &str, number: u64) -> Result<Value, AccountError> {
        let secret = secret_of(KIND, package);
        self.put_app(XiaomiApp { channel_required: true, ..XiaomiApp::new(&secret, package) });
        for (id, class, daily_quota) in
            [(CHAT_CHANNEL, ChannelClass::Private, None), (Self::NEWS_CHANNEL, ChannelClass::Public, Some(NEWS_QUOTA))]
        {
            self.add_channel(XiaomiChannel { package: package.to_owned(), id: id.to_owned(), class, daily_quota });
        }
        let app_id = (2_882_303_761_500_000_000 + number).to_string();
        Ok(json!({
            "vendor": KIND, "package_name": package, "app_id": app_id, "app_secret": secret,
            "defaults": {"channel_id": CHAT_CHANNEL},
        }))
    }
}
