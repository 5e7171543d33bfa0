//! Meizu in the conformance suite, and what is its alone.

use std::net::SocketAddr;

use rouse::simulator::{Controls, Fault, MeizuApp, MeizuSimulator, MeizuWorld, Misbehaviour, TokenState};
use serde_json::{Value, json};
use sqlx::PgPool;

use super::{Bench, Candidate, Says};
use crate::world::{PACKAGE, plain};

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

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn each_target_is_judged_by_its_own_code(pool: PgPool) {
    let bench = Bench::<Meizu>::start(pool).await;
    bench.phones(2).await;
    for (code, reason, status) in [
        ("201", "payload_refused", "active"),
        ("520", "recipient_limited", "active"),
        ("110011", "recipient_limited", "active"),
        ("110003", "token_gone", "invalid"),
    ] {
        bench.vendor.0.answer_targets_next(code, &[&Meizu::token(0)]);
        let to = ["u0".to_owned(), "u1".to_owned()];
        let notification = bench.sent_to(&to).await;
        assert_eq!(bench.outcomes(&notification).await, json!({"accepted": 1, reason: 1}), "{code}");
        assert_eq!(bench.token_status("u0").await, status, "{code}");
        bench.phones(1).await;
    }
    for (code, reason) in
        [("501", "vendor_fault"), ("513", "vendor_fault"), ("519", "vendor_fault"), ("518", "rate_limited")]
    {
        bench.vendor.0.answer_targets_next(code, &[&Meizu::token(0)]);
        let notification = bench.sent("u0", plain()).await;
        assert_eq!(bench.outcome(&notification).await, "accepted", "{code}");
        assert_eq!(bench.reasons(&notification, "attempt").await, [reason, "accepted"]);
    }
    bench.vendor.0.answer_targets_next("200", &[&Meizu::token(0)]);
    assert_eq!(bench.idle_outcome(&bench.sent("u0", plain()).await).await, "accepted", "listed, and a success");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_bad_id_that_refuses_the_whole_call_is_found(pool: PgPool) {
    let bench = Bench::<Meizu>::start(pool).await;
    let users = bench.phones(7).await;
    let bad = Misbehaviour::Code { code: "110003".into(), reason: None };
    bench.vendor.0.fault(Fault::always(bad).for_token(Meizu::token(4)));
    let notification = bench.sent_to(&users).await;
    assert_eq!(bench.outcomes(&notification).await, json!({"accepted": 6, "token_gone": 1}));
    assert_eq!(bench.token_status("u4").await, "invalid");
    assert_eq!(bench.vendor.0.inbox_counts().duplicates, 0);
    assert_eq!(bench.codes(&notification).await.len(), 7, "one attempt for each device");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_hundred_devices_are_one_call(pool: PgPool) {
    let bench = Bench::<Meizu>::start(pool).await;
    let users = bench.phones(230).await;
    assert_eq!(bench.outcomes(&bench.sent_to(&users).await).await, json!({"accepted": 230}));
    assert_eq!(bench.vendor.sends(), 3);
}
