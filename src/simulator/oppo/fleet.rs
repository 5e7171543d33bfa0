//! OPPO among all vendors.

use serde_json::{Value, json};

use super::{OppoApp, OppoSimulator};
use crate::simulator::fleet::{AccountError, FleetMember, secret_of};
use crate::simulator::inbox::TokenState;

const KIND: &str = "oppo";

impl FleetMember for OppoSimulator {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn settings(&self) -> Vec<String> {
        vec![format!("oppo.{}", self.oppo.region)]
    }

    fn open_account(&self, package: &str, number: u64) -> Result<Value, AccountError> {
        let (app_key, secret) = (format!("demo-key-{number}"), secret_of(KIND, package));
        self.put_app(OppoApp::new(&app_key, &secret));
        Ok(json!({
            "vendor": KIND, "package_name": package, "app_key": app_key, "master_secret": secret,
            "defaults": {"category": "IM"},
        }))
    }

    /// OPPO takes messages for apps that are gone. It refuses ids that it calls malformed.
    fn dead_state(&self) -> TokenState {
        TokenState::Expired
    }
}
