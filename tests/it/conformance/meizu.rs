//! Meizu in the conformance suite, and what is its alone.

use std::net::SocketAddr;

use rouse::simulator::{Controls, MeizuApp, MeizuSimulator, MeizuWorld, TokenState};
use serde_json::{Value, json};
use sqlx::PgPool;

use super::{Bench, Candidate, Says};
use crate::world::PACKAGE;

const APP_ID: &str = "100999";
const SECRET: &str = "9f1c2d3e4b5a69788796a5b4c3d2e1f0";

pub(crate) struct Meizu(MeizuSimulator);

impl Candidate for Meizu {
    const KIND: &'static str = "meizu";
    const TOO_FAST: Says = Says::Code("110010");
    const QUOTA: Option<Says> = Some(Says::Code("110019"));
    const REFUSED_MESSAGE: Says = Says::Code("1005");

    fn calls_for(_devices: usize) -> usize {
        1
    }

    async fn start() -> Self {
        let world = MeizuWorld { apps: vec![MeizuApp::new(APP_ID, SECRET)], ..MeizuWorld::default() };
        Self(MeizuSimulator::start(SocketAddr::from(([127, 0, 0, 1], 0)), world).await.unwrap())
    }

    fn controls(&self) -> &Controls {
        &self.0
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        vec![("VENDORS__MEIZU__PUSH", self.0.url())]
    }

    fn certificate(&self) -> Value {
        json!({"package_name": PACKAGE, "app_id": APP_ID, "app_secret": SECRET})
    }

    fn wrong_secret(&self) -> Value {
        json!({"app_secret": "wrong"})
    }

    fn token(number: usize) -> String {
        format!("RA50c6348036344485d{number:026}")
    }

    fn mute(&self, token: &str) -> bool {
        self.0.mark_token(token, TokenState::Off);
        true
    }

    fn other_class() -> Value {
        json!({"MeiZuNoticeMsgType": 0})
    }

    fn has_message_id(&self, id: &str) -> bool {
        self.0.has_message_id(id)
    }
}
