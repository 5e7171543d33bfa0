//! vivo in the conformance suite, and what is its alone.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rouse::clock::Clock;
use rouse::simulator::{Controls, VivoApp, VivoSimulator, VivoWorld};
use serde_json::{Value, json};
use sqlx::PgPool;

use super::{Bench, Candidate, Says};
use crate::world::{PACKAGE, plain};

const APP_ID: u64 = 100_215_079;
const KEY: &str = "0b2a7e5c-4d11-4f0e-9c33-5e8f2b6a9d10";
const SECRET: &str = "3f9d1c84-77aa-4b52-8e6d-c0a1b2d3e4f5";

pub(crate) struct Vivo(VivoSimulator);

impl Candidate for Vivo {
    const KIND: &'static str = "vivo";
    const TOO_FAST: Says = Says::Code("10072");
    const QUOTA: Option<Says> = Some(Says::Code("10070"));
    const REFUSED_MESSAGE: Says = Says::Code("10103");

    fn calls_for(devices: usize) -> usize {
        if devices < 5 { devices } else { 2 }
    }

    async fn start() -> Self {
        // At noon in China, whenever the test runs: by night operations messages are refused.
        const DAY_MS: i64 = 86_400_000;
        let wall = Clock::from_wall();
        let shift_ms = 4 * 3_600_000 - wall.now().timestamp_millis().rem_euclid(DAY_MS);
        let world = VivoWorld {
            apps: vec![VivoApp::new(APP_ID, KEY, SECRET)],
            now: Arc::new(move || wall.now().timestamp_millis() + shift_ms),
            clock_tolerance: Duration::from_hours(24),
            ..VivoWorld::default()
        };
        Self(VivoSimulator::start(SocketAddr::from(([127, 0, 0, 1], 0)), world).await.unwrap())
    }

    fn controls(&self) -> &Controls {
        &self.0
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        vec![("VENDORS__VIVO__PUSH", self.0.url())]
    }

    fn certificate(&self) -> Value {
        json!({"package_name": PACKAGE, "app_id": APP_ID.to_string(), "app_key": KEY, "app_secret": SECRET})
    }

    fn wrong_secret(&self) -> Value {
        json!({"app_secret": "wrong"})
    }

    fn token(number: usize) -> String {
        format!("v2-CR{number:054}")
    }

    fn mute(&self, token: &str) -> bool {
        self.0.mark_invalid(token, 3);
        true
    }

    fn other_class() -> Value {
        json!({"VIVOCategory": "NEWS"})
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
        path != "/message/auth"
    }
}
