//! APNs in the conformance suite; what is its alone is in the module `apns` of these tests.

use std::net::SocketAddr;

use rouse::simulator::{ApnsEnvironment, ApnsKey, ApnsSimulator, ApnsTeam, ApnsWorld, Controls};
use serde_json::{Value, json};

use super::{Candidate, Says};
use crate::apns::CaFile;

const TOPIC: &str = "com.example.chat";
const TEAM: &str = "TEAM123456";
const KEY: &str = "ABC123DEFG";

pub(crate) struct Apns {
    simulator: ApnsSimulator,
    key: ApnsKey,
    /// Holds the stand-in's CA while the server may read it.
    ca: CaFile,
}

impl Candidate for Apns {
    const KIND: &'static str = "apns";
    const PLATFORM: &'static str = "ios";
    const TOO_FAST: Says = Says::Code("TooManyRequests");
    const TOO_FAST_SLOWS_THE_LANE: bool = false;
    const QUOTA: Option<Says> = None;
    const REFUSED_MESSAGE: Says = Says::Code("PayloadTooLarge");
    const UNKNOWN: Says = Says::Code("422 BrandNewReason");
    const READS_ANSWERS: bool = false;

    fn calls_for(devices: usize) -> usize {
        devices
    }

    async fn start() -> Self {
        let key = ApnsKey::generate(KEY, TEAM).unwrap();
        let world = ApnsWorld {
            environment: ApnsEnvironment::Production,
            teams: vec![ApnsTeam { id: TEAM.to_owned(), topics: vec![TOPIC.to_owned()] }],
            keys: vec![key.clone()],
            ..ApnsWorld::default()
        };
        let simulator = ApnsSimulator::start(SocketAddr::from(([127, 0, 0, 1], 0)), world).await.unwrap();
        let ca = CaFile::of(&simulator);
        Self { simulator, key, ca }
    }

    fn controls(&self) -> &Controls {
        &self.simulator
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("VENDORS__APNS__PRODUCTION", self.simulator.url()),
            ("VENDORS__EXTRA_CA_FILE", self.ca.0.to_str().unwrap().to_owned()),
        ]
    }

    fn certificate(&self) -> Value {
        json!({"topic": TOPIC, "environment": "production", "key_p8": self.key.p8_pem(), "key_id": KEY, "team_id": TEAM})
    }

    fn wrong_secret(&self) -> Value {
        json!({"key_p8": ApnsKey::generate(KEY, TEAM).unwrap().p8_pem()})
    }

    fn token(number: usize) -> String {
        format!("{number:064x}")
    }

    fn has_message_id(&self, id: &str) -> bool {
        self.simulator.apns_id_count(id) > 0
    }
}
