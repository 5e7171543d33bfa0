//! vivo in the conformance suite, and what is its alone.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rouse::clock::Clock;
use rouse::simulator::{Controls, Fault, Latency, Misbehaviour, VivoApp, VivoSimulator, VivoWorld};
use serde_json::{Value, json};
use sqlx::PgPool;

use super::{Bench, Candidate, Says, access_tokens};
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
            apps: vec![vivo_app()],
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

    access_tokens!();

    fn is_send(path: &str) -> bool {
        path != "/message/auth"
    }

    /// What is only stored for a list has a new key each time, and its number comes with the answer.
    fn is_of_the_moment(path: &str, field: &str) -> bool {
        [("/message/saveListPayload", "requestId"), ("/message/pushToList", "taskId")].contains(&(path, field))
    }
}

fn vivo_app() -> VivoApp {
    VivoApp::new(APP_ID, KEY, SECRET)
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn spent_lists_fall_back_to_single_sends(pool: PgPool) {
    let bench = Bench::<Vivo>::start(pool).await;
    bench.vendor.0.put_app(VivoApp { daily_lists: Some(1), ..vivo_app() });
    let users = bench.phones(12).await;
    assert_eq!(bench.outcomes(&bench.sent_to(&users).await).await, json!({"accepted": 12}));
    let calls = |path: &str| bench.vendor.0.endpoint(path).requests;
    assert_eq!((calls("/message/saveListPayload"), calls("/message/pushToList"), calls("/message/send")), (1, 1, 0));
    let notification = bench.sent_to(&users).await;
    assert_eq!(bench.outcomes(&notification).await, json!({"accepted": 12}));
    assert_eq!((calls("/message/saveListPayload"), calls("/message/pushToList"), calls("/message/send")), (2, 1, 12));
    assert_eq!(bench.shown_certificate().await["lane"]["rate_share"], 1.0, "about lists, not about the rate");
    // No list is tried again today.
    assert_eq!(bench.outcomes(&bench.sent_to(&users).await).await, json!({"accepted": 12}));
    assert_eq!((calls("/message/saveListPayload"), calls("/message/send")), (2, 24));
    assert_eq!((bench.vendor.0.received_total(), bench.vendor.0.inbox_counts().duplicates), (36, 0));
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn an_app_in_review_pauses_its_certificate_and_test_mode_blames_no_token(pool: PgPool) {
    let bench = Bench::<Vivo>::with(pool, &[("DISPATCH__SUSPECT_ANSWERS", "3")], plain()).await;
    bench.phones(2).await;
    let tester = vec![Vivo::token(1)];
    bench.vendor.0.put_app(VivoApp { in_review: true, test_devices: tester, ..vivo_app() });
    let notification = bench.sent("u1", plain()).await;
    bench.until_state("refused").await;
    bench.idle().await;
    assert_eq!(bench.codes(&notification).await, ["10045"]);
    bench.change_certificate(&json!({"defaults": {"test_mode": true}})).await;
    assert_eq!(bench.outcome(&notification).await, "accepted", "a test device gets test messages");
    for _ in 0..3 {
        let notification = bench.sent("u0", plain()).await;
        assert_eq!(bench.idle_outcome(&notification).await, "payload_refused");
        assert_eq!(bench.codes(&notification).await, ["10302 status 4"]);
    }
    bench.until_state("refused").await;
    assert_eq!(bench.token_status("u0").await, "active", "it is not the token's fault");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn operations_messages_wait_for_the_morning(pool: PgPool) {
    let bench = Bench::<Vivo>::start(pool).await;
    bench.warm_phone().await;
    let now = bench.server().clock().now();
    bench.vendor.0.answer_next(10_071);
    let news = json!({"offline_push_info": {"AndroidInfo": {"VIVOCategory": "NEWS"}}});
    let notification = bench.sent("u0", news).await;
    bench.sweep().await;
    let waiting = bench.story(&notification).await["waiting"][0].clone();
    let due_at: DateTime<Utc> = waiting["due_at"].as_str().unwrap().parse().unwrap();
    let morning = rouse::vendor::QuotaReset::ChinaHour(7).next(now);
    assert!((due_at - morning).abs() < TimeDelta::seconds(10), "{due_at} is not {morning}");
    assert_eq!(bench.idle_outcome(&bench.sent("u0", plain()).await).await, "accepted", "chat goes on at night");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_list_says_who_is_dead_and_how(pool: PgPool) {
    let bench = Bench::<Vivo>::start(pool).await;
    let users = bench.phones(8).await;
    for (number, status) in [(1, 1), (2, 2), (3, 3), (4, 4), (5, 9)] {
        bench.vendor.0.mark_invalid(&Vivo::token(number), status);
    }
    let outcomes = bench.outcomes(&bench.sent_to(&users).await).await;
    let expected = json!({"accepted": 3, "token_gone": 2, "muted": 1, "payload_refused": 1, "unrecognised": 1});
    assert_eq!(outcomes, expected);
    for (user, status) in
        [("u1", "invalid"), ("u2", "invalid"), ("u3", "muted"), ("u4", "active"), ("u5", "active"), ("u6", "active")]
    {
        assert_eq!(bench.token_status(user).await, status, "{user}");
    }
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_list_whose_steps_take_too_long_becomes_single_sends(pool: PgPool) {
    let bench = Bench::<Vivo>::start(pool).await;
    let users = bench.phones(6).await;
    assert_eq!(bench.outcome(&bench.sent("u0", plain()).await).await, "accepted", "the access token is there");
    bench.vendor.0.set_latency(Latency::fixed(1_200));
    let notification = bench.sent_to(&users).await;
    assert_eq!(bench.outcomes(&notification).await, json!({"accepted": 6}));
    let calls = |path: &str| bench.vendor.0.endpoint(path).requests;
    assert_eq!((calls("/message/saveListPayload"), calls("/message/pushToList"), calls("/message/send")), (1, 0, 7));
    assert_eq!(bench.vendor.0.inbox_counts().duplicates, 0);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn what_lives_too_short_for_a_list_goes_out_in_small_parts(pool: PgPool) {
    let bench = Bench::<Vivo>::start(pool).await;
    let users = bench.phones(30).await;
    let to: Vec<Value> = users.iter().map(|user| json!({"user_id": user})).collect();
    let notification = bench.sent("", json!({"to": to, "ttl_s": 600})).await;
    assert_eq!(bench.outcomes(&notification).await, json!({"accepted": 30}));
    assert_eq!((bench.vendor.0.endpoint("/message/send").requests, bench.vendor.sends()), (30, 30));
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_list_that_one_device_refused_is_divided(pool: PgPool) {
    let bench = Bench::<Vivo>::start(pool).await;
    let users = bench.phones(12).await;
    assert_eq!(bench.outcome(&bench.sent("u0", plain()).await).await, "accepted");
    let enough = Misbehaviour::Code { code: "10073".into(), reason: None };
    bench.vendor.0.fault(Fault::always(enough).for_token(Vivo::token(7)));
    let notification = bench.sent_to(&users).await;
    assert_eq!(bench.outcomes(&notification).await, json!({"accepted": 11, "recipient_limited": 1}));
    assert_eq!(bench.vendor.0.inbox_counts().duplicates, 0);
    assert_eq!(bench.codes(&notification).await.len(), 12, "one attempt for each device");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_device_that_leaves_between_the_steps_of_a_list_gets_nothing_and_the_others_do(pool: PgPool) {
    let bench = Bench::<Vivo>::start(pool).await;
    let users = bench.phones(6).await;
    assert_eq!(bench.outcome(&bench.sent("u0", plain()).await).await, "accepted");
    let calls = |path: &str| bench.vendor.0.endpoint(path).requests;
    bench.vendor.0.fault(Fault::once(Misbehaviour::Hang(Some(Duration::from_millis(300)))));
    let received = bench.vendor.0.received_total();
    // The stand-in notes a call that hangs when it answers it: the first step is on the wire a moment after the 202.
    let notification = bench.sent_to(&users).await;
    bench.report("logout", "u3", "phone-u3").await;
    assert_eq!(bench.outcomes(&notification).await, json!({"accepted": 5, "cancelled": 1}));
    assert_eq!(bench.vendor.0.inbox(&Vivo::token(3)).len(), 0);
    assert_eq!(bench.vendor.0.received_total() - received, 5);
    assert!(calls("/message/saveListPayload") <= 2);
}
