//! Meizu among all vendors.

use serde_json::{Value, json};

use super::{MeizuApp, MeizuSimulator};
use crate::simulator::fleet::{AccountError, FleetMember, secret_of};

const KIND: &str = "meizu";

impl FleetMember for MeizuSimulator {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn settings(&self) -> Vec<String> {
        vec!["meizu.push".to_owned()]
    }

    fn open_account(&self, package: &str, number: u64) -> Result<Value, AccountError> {
        let (app_id, secret) = ((100_900 + number).to_string(), secret_of(KIND, package));
        self.put_app(MeizuApp::new(&app_id, &secret));
        Ok(json!({"vendor": KIND, "package_name": package, "app_id": app_id, "app_secret": secret}))
    }
}
