//! Xiaomi in the conformance suite.

use std::net::SocketAddr;

use rouse::simulator::{ChannelClass, Controls, XiaomiApp, XiaomiChannel, XiaomiSimulator, XiaomiWorld};
use serde_json::{Value, json};

use super::{Candidate, Says};
use crate::world::PACKAGE;

pub(crate) struct Xiaomi(XiaomiSimulator);

impl Candidate for Xiaomi {
    const KIND: &'static str = "xiaomi";
    const TOO_FAST: Says = Says::Code("200002");
    const QUOTA: Option<Says> = Some(Says::Code("200001"));
    const REFUSED_MESSAGE: Says = Says::Code("22100");

    fn calls_for(_devices: usize) -> usize {
        1
    }

    async fn start() -> Self {
        let news = XiaomiChannel {
            package: PACKAGE.to_owned(),
            id: "news".to_owned(),
            class: ChannelClass::Public,
            daily_quota: None,
        };
        let world = XiaomiWorld {
            apps: vec![XiaomiApp::new("secret", PACKAGE)],
            channels: vec![news],
            ..XiaomiWorld::default()
        };
        Self(XiaomiSimulator::start(SocketAddr::from(([127, 0, 0, 1], 0)), world).await.unwrap())
    }

    fn controls(&self) -> &Controls {
        &self.0
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        vec![("VENDORS__XIAOMI__CN", self.0.url())]
    }

    fn certificate(&self) -> Value {
        json!({"package_name": PACKAGE, "app_id": "2882303761500000001", "app_secret": "secret"})
    }

    fn wrong_secret(&self) -> Value {
        json!({"app_secret": "wrong"})
    }

    fn token(number: usize) -> String {
        format!("//9TSU0tWElBT01JLVRPS0VO{number:020}+3g=")
    }

    fn other_class() -> Value {
        json!({"XiaoMiChannelID": "news"})
    }

    fn has_message_id(&self, id: &str) -> bool {
        self.0.has_message_id(id)
    }
}
