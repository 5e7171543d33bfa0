//! Huawei in the conformance suite, and what is its alone.

use std::net::SocketAddr;

use rouse::simulator::{Controls, Fault, HuaweiApp, HuaweiSimulator, HuaweiStatus, HuaweiWorld, Misbehaviour};
use serde_json::{Value, json};
use sqlx::PgPool;

use super::{Bench, Candidate, Says, access_tokens};
use crate::world::{PACKAGE, plain};

const CLIENT: &str = "100123456";
const SECRET: &str = "9a8b+/c7";

/// With `true`: every business error comes with HTTP 200. Which status goes with a code is not documented.
pub(crate) struct Huawei<const ALWAYS_200: bool = false>(HuaweiSimulator);

impl<const ALWAYS_200: bool> Candidate for Huawei<ALWAYS_200> {
    const KIND: &'static str = "huawei";
    const DEAD: [&'static str; 2] = ["token_malformed", "token_gone"];
    const TOO_FAST: Says = Says::Status(503);
    const QUOTA: Option<Says> = None;
    const REFUSED_MESSAGE: Says = Says::Code("80100016");

    fn calls_for(_devices: usize) -> usize {
        1
    }

    async fn start() -> Self {
        let world = HuaweiWorld {
            apps: vec![HuaweiApp::new(CLIENT, SECRET)],
            business_status: if ALWAYS_200 { HuaweiStatus::Always200 } else { HuaweiStatus::Http },
            ..HuaweiWorld::default()
        };
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

    access_tokens!();

    fn is_send(path: &str) -> bool {
        path.ends_with("/messages:send")
    }
}

fn code(code: &'static str) -> Misbehaviour {
    Misbehaviour::Code { code: code.into(), reason: None }
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_fresh_access_token_that_is_refused_too_pauses_the_certificate(pool: PgPool) {
    let bench = Bench::<Huawei>::start(pool).await;
    bench.warm_phone().await;
    bench.vendor.0.fault(Fault::times(code("80200003"), 2).for_token(Huawei::<false>::token(0)));
    let notification = bench.sent("u0", plain()).await;
    bench.until_state("refused").await;
    bench.idle().await;
    assert_eq!(bench.codes(&notification).await, ["80200003"], "one attempt with two calls");
    assert_eq!((bench.vendor.sends(), bench.vendor.access_tokens_granted()), (3, 2));
    bench.resume().await;
    assert_eq!(bench.outcome(&notification).await, "accepted");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_token_endpoint_that_fails_loses_no_message(pool: PgPool) {
    let bench = Bench::<Huawei>::with(pool, &[("VENDORS__CALL_TIMEOUT_MS", "400")], plain()).await;
    bench.phones(1).await;
    for (fault, reason) in [
        (Misbehaviour::Status { status: 500, body: String::new(), retry_after: None }, "vendor_fault"),
        (Misbehaviour::Status { status: 503, body: String::new(), retry_after: None }, "rate_limited"),
        (Misbehaviour::Hang(None), "timed_out"),
        (Misbehaviour::Text("<html>".to_owned()), "vendor_fault"),
    ] {
        bench.vendor.revoke_access_tokens();
        bench.vendor.0.fault(Fault::once(code("80200001")).for_token(Huawei::<false>::token(0)));
        // The send is refused (or there is no token yet), and so is the request for another token.
        if bench.vendor.sends() == 0 {
            bench.vendor.0.clear_faults();
        }
        let without_token = bench.vendor.access_tokens_granted();
        bench.vendor.0.fault(Fault::once(fault));
        let notification = bench.sent("u0", plain()).await;
        assert_eq!(bench.outcome(&notification).await, "accepted");
        let reasons = bench.reasons(&notification, "attempt").await;
        // The failure holds for a second, and this test does not wait between attempts.
        let failed = &reasons[..reasons.len() - 1];
        assert!(!failed.is_empty() && failed.iter().all(|failed| failed == reason), "{reasons:?}");
        assert_eq!(bench.vendor.access_tokens_granted(), without_token + 1);
    }
    assert_eq!(bench.shown_certificate().await["state"], "active");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn tokens_of_another_app_pause_the_certificate_and_unbind_nobody(pool: PgPool) {
    let bench = Bench::<Huawei>::with(pool, &[("DISPATCH__SUSPECT_ANSWERS", "5")], plain()).await;
    let users = bench.phones(8).await;
    for number in 0..users.len() {
        bench.vendor.0.set_token_app(&Huawei::<false>::token(number), "999");
    }
    for user in &users {
        bench.sent(user, plain()).await;
        bench.idle().await;
    }
    bench.until_state("refused").await;
    for user in &users {
        assert_eq!(bench.token_status(user).await, "active");
    }
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn more_devices_than_a_call_takes_go_out_in_several(pool: PgPool) {
    let bench = Bench::<Huawei>::start(pool).await;
    let users = bench.phones(1_000).await;
    bench.vendor.0.kill_token(&Huawei::<false>::token(7));
    let outcomes = bench.outcomes(&bench.sent_to(&users).await).await;
    assert_eq!(outcomes, json!({"accepted": 999, "token_gone": 1}));
    assert_eq!((bench.vendor.sends(), bench.vendor.0.received_total()), (1, 999));
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn badges_go_out_by_number_where_the_launcher_activity_is_known(pool: PgPool) {
    let badge_class = json!({"defaults": {"badge_class": "com.example.chat.MainActivity"}});
    let bench = Bench::<Huawei>::with(pool, &[], badge_class).await;
    bench.phones(3).await;
    let to = json!([{"user_id": "u0", "badge": 1}, {"user_id": "u1", "badge": 2}, {"user_id": "u2", "badge": 2}]);
    assert_eq!(bench.outcomes(&bench.sent("", json!({"to": to})).await).await, json!({"accepted": 3}));
    let badge = |number| bench.vendor.0.inbox(&Huawei::<false>::token(number))[0].badge;
    assert_eq!([badge(0), badge(1), badge(2)], [Some(1), Some(2), Some(2)]);
    assert_eq!(bench.vendor.sends(), 2, "one call for each number");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn who_logs_out_while_an_access_token_is_waited_for_gets_nothing(pool: PgPool) {
    let bench = Bench::<Huawei>::start(pool).await;
    bench.phones(2).await;
    let slow = Misbehaviour::Hang(Some(std::time::Duration::from_millis(1_300)));
    bench.vendor.0.fault(Fault::once(slow));
    let logged_out = bench.sent("u0", plain()).await;
    let stays = bench.sent("u1", plain()).await;
    bench.report("logout", "u0", "phone-u0").await;
    assert_eq!(bench.outcome(&stays).await, "accepted");
    assert_eq!(bench.outcome(&logged_out).await, "cancelled");
    let told = bench.codes(&stays).await;
    assert_eq!(told, ["not sent: judged again first", "80000000"], "what was known of the phone was over a second old");
    assert_eq!((bench.vendor.sends(), bench.vendor.0.inbox(&Huawei::<false>::token(0)).len()), (1, 0));
    assert_eq!(bench.shown_certificate().await["lane"]["rate_share"], 1.0);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn what_the_message_asks_for_is_not_the_certificates_fault(pool: PgPool) {
    let bench = Bench::<Huawei>::with(pool, &[("DISPATCH__SUSPECT_ANSWERS", "2")], plain()).await;
    bench.warm_phone().await;
    let own = json!({"offline_push_info": {"AndroidInfo": {"HuaWeiChannelID": "no-such-channel"}}});
    for (fields, state) in
        [(own.clone(), "active"), (own.clone(), "active"), (own, "active"), (plain(), "active"), (plain(), "refused")]
    {
        bench.vendor.0.answer_next("80100003");
        let notification = bench.sent("u0", fields).await;
        assert_eq!(bench.idle_outcome(&notification).await, "payload_refused");
        bench.until_state(state).await;
    }
}
