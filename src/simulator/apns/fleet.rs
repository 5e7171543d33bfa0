//! APNs among all vendors.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{ApnsKey, ApnsSimulator, ApnsTeam, ApnsWorld};
use crate::simulator::controls::Controls;
use crate::simulator::fleet::{AccountError, FleetMember, Running, from_basics};

const KIND: &str = "apns";
const TEAM: &str = "DEMOTEAM01";
const KEY: &str = "DEMOKEY001";

from_basics!(ApnsWorld);

#[async_trait]
impl Running for ApnsSimulator {
    fn controls(&self) -> &Controls {
        self
    }

    fn url(&self) -> String {
        Self::url(self)
    }

    /// The id is the sender's own.
    fn has_message_id(&self, id: &str) -> bool {
        self.apns_id_count(id) > 0
    }

    async fn stop(&self) {
        Self::stop(self).await;
    }
}

impl FleetMember for ApnsSimulator {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn settings(&self) -> Vec<String> {
        vec![format!("apns.{}", self.environment().name())]
    }

    /// All bundle ids belong to one team with one key.
    fn open_account(&self, package: &str, _number: u64) -> Result<Value, AccountError> {
        let key = if let Some(key) = self.key(KEY) {
            key
        } else {
            let key = ApnsKey::generate(KEY, TEAM)?;
            self.put_key(key.clone());
            key
        };
        self.put_team(ApnsTeam { id: TEAM.to_owned(), topics: vec![package.to_owned()] });
        Ok(json!({
            "vendor": KIND, "topic": package, "environment": self.environment().name(),
            "key_p8": key.p8_pem(), "key_id": KEY, "team_id": TEAM,
        }))
    }

    fn ca(&self) -> Option<&str> {
        Some(self.ca_pem())
    }
}
