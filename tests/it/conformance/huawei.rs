//! Huawei in the conformance suite, and what is its alone.

use std::net::SocketAddr;

use rouse::simulator::{Controls, HuaweiApp, HuaweiSimulator, HuaweiStatus, HuaweiWorld};
use serde_json::{Value, json};
use sqlx::PgPool;

use super::{Bench, Candidate, Says};
use crate::world::{PACKAGE, plain};

const CLIENT: &str = "100123456";
const SECRET: &str = "9a8b+/c7";

pub(crate) struct Huawei(HuaweiSimulator);

impl Candidate for Huawei {
    const KIND: &'static str = "huawei";
    const DEAD: [&'static str; 2] = ["token_malformed", "token_gone"];
    const TOO_FAST: Says = Says::Status(503);
    const QUOTA: Option<Says> = None;
    const REFUSED_MESSAGE: Says = Says::Code("80100016");

    fn calls_for(_devices: usize) -> usize {
        1
    }

    async fn start() -> Self {
        let world = HuaweiWorld { apps: vec![HuaweiApp::new(CLIENT, SECRET)], ..HuaweiWorld::default() };
        Self(HuaweiSimulator::start(SocketAddr::from(([127, 0, 0, 1], 0)), world).await.unwrap())
    }

    fn controls(&self) -> &Controls {
        &self.0
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        vec![("VENDORS__HUAWEI__PUSH", self.0.url()), ("VENDORS__HUAWEI__TOKEN", self.0.url())]
    }

    fn certificate(&self) -> Value {
        json!({"package_name": PACKAGE, "app_id": CLIENT, "app_secret": SECRET})
    }

    fn wrong_secret(&self) -> Value {
        json!({"app_secret": "wrong"})
    }

    fn token(number: usize) -> String {
        format!("IQAAAACy0tYtAAB{number:0100}")
    }

    fn has_message_id(&self, id: &str) -> bool {
        self.0.has_message_id(id)
    }

    fn expire_access_tokens(&self) -> Option<()> {
        self.0.expire_access_tokens();
        Some(())
    }

    fn revoke_access_tokens(&self) {
        self.0.revoke_access_tokens();
    }

    fn access_tokens_granted(&self) -> u64 {
        self.0.access_tokens_granted()
    }

    fn is_send(path: &str) -> bool {
        path.ends_with("/messages:send")
    }
}
