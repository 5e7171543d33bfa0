//! The rules of the document over a socket, by a raw HTTP/2 client.

mod client;
mod connections;
mod credentials;
mod faults;
mod rules;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::*;
use crate::simulator::testing::any_port;
use client::{Client, Push};

const TOKEN: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const TOPIC: &str = "com.example.im";
const KEY: &str = "ABC123DEFG";
const TEAM: &str = "TEAM123456";
const APNS_ID: &str = "11111111-2222-3333-4444-555555555555";
const NOW_S: i64 = 1_790_000_000;

/// A world with one team, one key and a clock that stands still.
struct Given {
    world: ApnsWorld,
    key: ApnsKey,
    clock: Arc<AtomicI64>,
}

fn given() -> Given {
    let clock = Arc::new(AtomicI64::new(NOW_S * 1_000));
    let key = ApnsKey::generate(KEY, TEAM).unwrap();
    let read = Arc::clone(&clock);
    let world = ApnsWorld {
        teams: vec![ApnsTeam { id: TEAM.into(), topics: vec![TOPIC.into()] }],
        keys: vec![key.clone()],
        now: Arc::new(move || read.load(Ordering::Relaxed)),
        ..ApnsWorld::default()
    };
    Given { world, key, clock }
}

async fn start(world: ApnsWorld) -> ApnsSimulator {
    ApnsSimulator::start(any_port(), world).await.unwrap()
}

/// A started world, a client of it, and a push that is right.
async fn ready(world: ApnsWorld, key: &ApnsKey) -> (ApnsSimulator, Client, Push) {
    let simulator = start(world).await;
    let client = Client::connect(&simulator).await;
    (simulator, client, Push::new(&key.jwt(NOW_S).unwrap()))
}
