//! Huawei in the conformance suite, and what is its alone.

use std::net::SocketAddr;
use std::time::Duration;

use rouse::simulator::{Controls, Fault, HuaweiApp, HuaweiSimulator, HuaweiStatus, HuaweiWorld, Misbehaviour};
use serde_json::{Value, json};
use sqlx::PgPool;

use super::{Bench, Candidate, Says, access_tokens};
use crate::world::{APP, PACKAGE, plain, until};

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
async fn two_fresh_access_tokens_that_are_refused_pause_the_certificate(pool: PgPool) {
    let bench = Bench::<Huawei>::start(pool).await;
    bench.warm_phone().await;
    let refused = |times| Fault::times(code("80200003"), times).for_token(Huawei::<false>::token(0));
    // One alone may have been ended by another server's token.
    bench.vendor.0.fault(refused(2));
    let notification = bench.sent("u0", plain()).await;
    assert_eq!(bench.outcome(&notification).await, "accepted");
    assert_eq!(bench.reasons(&notification, "attempt").await, ["vendor_fault", "accepted"]);
    assert_eq!((bench.vendor.sends(), bench.vendor.access_tokens_granted()), (4, 2));
    bench.vendor.0.fault(refused(4));
    let notification = bench.sent("u0", plain()).await;
    bench.until_state("refused").await;
    bench.idle().await;
    assert_eq!(bench.reasons(&notification, "attempt").await, ["vendor_fault", "certificate_refused"]);
    assert_eq!((bench.vendor.sends(), bench.vendor.access_tokens_granted()), (8, 4));
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

fn slow(ms: u64) -> Misbehaviour {
    Misbehaviour::Hang(Some(Duration::from_millis(ms)))
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn devices_are_judged_again_after_a_long_wait_for_an_access_token(pool: PgPool) {
    let bench = Bench::<Huawei>::start(pool).await;
    bench.phones(2).await;
    bench.vendor.0.fault(Fault::once(slow(1_300)));
    // Its one attempt is not used up by the wait.
    let logged_out = bench.sent("u0", json!({"ttl_s": 0})).await;
    let stays = bench.sent("u1", json!({"ttl_s": 0})).await;
    bench.report("logout", "u0", "phone-u0").await;
    assert_eq!(bench.outcome(&stays).await, "accepted");
    assert_eq!(bench.outcome(&logged_out).await, "cancelled");
    assert_eq!(bench.codes(&stays).await, ["80000000"], "put back, and no attempt");
    assert_eq!((bench.vendor.sends(), bench.vendor.0.inbox(&Huawei::<false>::token(0)).len()), (1, 0));
    assert_eq!(bench.shown_certificate().await["lane"]["rate_share"], 1.0);
}

/// The access token is refused, and another one takes its time: what happens meanwhile counts for the second request.
#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn no_second_request_starts_after_a_logout_or_a_cancellation(pool: PgPool) {
    let bench = Bench::<Huawei>::start(pool).await;
    bench.phones(2).await;
    for user in ["u0", "u1"] {
        assert_eq!(bench.outcome(&bench.sent(user, plain()).await).await, "accepted");
    }
    let refused = |user: &'static str, token: usize| {
        let bench = &bench;
        async move {
            let sends = bench.vendor.sends();
            bench.vendor.0.fault(Fault::once(code("80200003")).for_token(Huawei::<false>::token(token)));
            bench.vendor.0.fault(Fault::once(slow(800)));
            let notification = bench.sent(user, plain()).await;
            until("the first request", || async { (bench.vendor.sends() > sends).then_some(()) }).await;
            notification
        }
    };
    let logged_out = refused("u0", 0).await;
    bench.report("logout", "u0", "phone-u0").await;
    assert_eq!(bench.outcome(&logged_out).await, "cancelled");
    let cancelled = refused("u1", 1).await;
    let path = format!("/v1/apps/{APP}/notifications/{cancelled}");
    bench.delete(&path).await.ok();
    assert_eq!(bench.outcome(&cancelled).await, "cancelled");
    assert_eq!(bench.vendor.sends(), 4, "two that went out, two that were refused");
    assert_eq!(bench.vendor.0.received_total(), 2);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_token_host_that_fails_uses_up_no_single_attempt(pool: PgPool) {
    let bench = Bench::<Huawei>::start(pool).await;
    bench.phones(1).await;
    bench.vendor.0.fault(Fault::once(Misbehaviour::Status { status: 500, body: String::new(), retry_after: None }));
    let notification = bench.sent("u0", json!({"ttl_s": 0})).await;
    // Not hurried: an access token is asked for once a second at most, and each try that finds none lengthens the back-off.
    until("its end", || async { (bench.story(&notification).await["waiting"] == json!([])).then_some(()) }).await;
    assert_eq!(bench.outcome(&notification).await, "accepted");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn an_access_token_in_doubt_is_replaced_for_the_next_attempt(pool: PgPool) {
    let bench = Bench::<Huawei>::start(pool).await;
    bench.warm_phone().await;
    bench.vendor.0.answer_next("80600003");
    let notification = bench.sent("u0", plain()).await;
    assert_eq!(bench.outcome(&notification).await, "accepted");
    assert_eq!(bench.reasons(&notification, "attempt").await, ["vendor_fault", "accepted"]);
    assert_eq!(bench.vendor.access_tokens_granted(), 2);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn certificates_of_one_credential_share_their_access_token(pool: PgPool) {
    let bench = Bench::<Huawei>::start(pool).await;
    bench.warm_phone().await;
    let other = json!({"vendor": "huawei", "certificate_id": super::ID + 1, "package_name": "com.example.lite",
        "app_id": CLIENT, "app_secret": SECRET});
    bench.post(&format!("/v1/apps/{APP}/certificates"), &other).await.ok();
    let token = json!({"certificate_id": super::ID + 1, "token": Huawei::<false>::token(77)});
    let login = crate::world::merged(bench.event("login", "lite", "phone"), token);
    bench.events(&json!([login, bench.event("disconnect", "lite", "phone")])).await;
    assert_eq!(bench.outcome(&bench.sent("lite", plain()).await).await, "accepted");
    assert_eq!(bench.vendor.access_tokens_granted(), 1);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn the_rate_counts_devices(pool: PgPool) {
    let bench = Bench::<Huawei>::with(pool, &[], json!({"rate_limit": 40})).await;
    let users = bench.phones(100).await;
    let since = std::time::Instant::now();
    assert_eq!(bench.outcomes(&bench.sent_to(&users).await).await, json!({"accepted": 100}));
    let sizes: Vec<usize> = bench
        .vendor
        .0
        .calls()
        .iter()
        .filter(|call| Huawei::<false>::is_send(&call.path))
        .map(|call| {
            let body: Value = serde_json::from_slice(&call.body).unwrap();
            body["message"]["token"].as_array().unwrap().len()
        })
        .collect();
    assert_eq!(sizes, [40, 40, 20], "no more in one call than may go in a second");
    assert!(since.elapsed() > Duration::from_millis(1_500), "{:?}", since.elapsed());
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn what_the_message_asks_for_is_not_the_certificates_fault(pool: PgPool) {
    let bench = Bench::<Huawei>::with(pool, &[("DISPATCH__SUSPECT_ANSWERS", "2")], plain()).await;
    bench.warm_phone().await;
    let own = json!({"offline_push_info": {"AndroidInfo": {"HuaWeiChannelID": "no-such-channel"}}});
    for (code, fields, state) in [
        ("80100003", own.clone(), "active"),
        ("80100003", own.clone(), "active"),
        ("80100003", own.clone(), "active"),
        ("80100003", plain(), "active"),
        // That the app may not push is no option of a message.
        ("80300002", own, "refused"),
    ] {
        bench.vendor.0.answer_next(code);
        let notification = bench.sent("u0", fields).await;
        assert_eq!(bench.idle_outcome(&notification).await, "payload_refused");
        bench.until_state(state).await;
    }
}
