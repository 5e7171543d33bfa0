//! OPPO in the conformance suite, and what is its alone.

use std::net::SocketAddr;

use rouse::simulator::{Controls, OppoApp, OppoSimulator, OppoWorld, TokenState};
use serde_json::{Value, json};
use sqlx::PgPool;

use super::{Bench, Candidate, Says};
use crate::world::{PACKAGE, plain};

const KEY: &str = "a1b2c3d4e5f60718293a4b5c6d7e8f90";
const SECRET: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";

pub(crate) struct Oppo(OppoSimulator);

impl Candidate for Oppo {
    const KIND: &'static str = "oppo";
    const DEAD: [&'static str; 2] = ["token_malformed", "token_malformed"];
    const TOO_FAST: Says = Says::Code("55");
    const QUOTA: Option<Says> = Some(Says::Code("33"));
    const REFUSED_MESSAGE: Says = Says::Code("41");

    fn calls_for(_devices: usize) -> usize {
        1
    }

    async fn start() -> Self {
        let world = OppoWorld { apps: vec![OppoApp::new(KEY, SECRET)], ..OppoWorld::default() };
        Self(OppoSimulator::start(SocketAddr::from(([127, 0, 0, 1], 0)), world).await.unwrap())
    }

    fn controls(&self) -> &Controls {
        &self.0
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        vec![("VENDORS__OPPO__CN", self.0.url())]
    }

    fn certificate(&self) -> Value {
        json!({"package_name": PACKAGE, "app_key": KEY, "master_secret": SECRET, "defaults": {"category": "IM"}})
    }

    fn wrong_secret(&self) -> Value {
        json!({"master_secret": "wrong"})
    }

    fn token(number: usize) -> String {
        format!("OPPO_CN_{number:032x}")
    }

    /// A well-formed id of an app that is gone is accepted, and told by receipt only: here it is one that OPPO calls malformed.
    fn kill(&self, token: &str) {
        self.0.mark_token(token, TokenState::Expired);
    }

    fn other_class() -> Value {
        json!({"OPPOCategory": "NEWS"})
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
        path != "/server/v1/auth"
    }
}
