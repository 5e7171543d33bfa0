//! vivo among all vendors.

use serde_json::{Value, json};

use super::{VivoApp, VivoSimulator};
use crate::simulator::fleet::{AccountError, FleetMember, secret_of};

const KIND: &str = "vivo";

impl FleetMember for VivoSimulator {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn settings(&self) -> Vec<String> {
        vec!["vivo.push".to_owned()]
    }

    fn open_account(&self, package: &str, number: u64) -> Result<Value, AccountError> {
        let (app_id, app_key, secret) = (100_215_000 + number, format!("demo-key-{number}"), secret_of(KIND, package));
        self.put_app(VivoApp::new(app_id, &app_key, &secret));
        Ok(json!({
            "vendor": KIND, "package_name": package,
            "app_id": app_id.to_string(), "app_key": app_key, "app_secret": secret,
        }))
    }
}
