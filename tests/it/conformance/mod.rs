//! One set of cases that every adapter passes against its stand-in: real server, real Postgres, real sockets.
//!
//! A vendor is one [`Candidate`] and one line in `candidates!`. What is the vendor's alone stands beside its candidate.

mod apns;
mod candidate;
mod huawei;
mod meizu;
mod oppo;
mod preview;
mod tap;
mod vivo;
mod xiaomi;

use std::ops::Deref;

use chrono::{DateTime, TimeDelta, Utc};
use rouse::simulator::{Fault, Misbehaviour, TokenState};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::world::{APP, World, merged, plain, until};
pub(crate) use apns::Apns;
pub(crate) use candidate::{Candidate, Says, access_tokens};
pub(crate) use huawei::Huawei;
pub(crate) use meizu::Meizu;
pub(crate) use oppo::Oppo;
use preview::the_preview_is_what_is_sent;
use tap::Tap;
pub(crate) use vivo::Vivo;

const ID: i64 = 30_001;

/// The fixture with a certificate of one vendor.
pub(crate) struct Bench<C> {
    world: World,
    pub(crate) vendor: C,
    /// In front of its hosts.
    taps: Vec<Tap>,
}

impl<C> Deref for Bench<C> {
    type Target = World;
    fn deref(&self) -> &World {
        &self.world
    }
}

impl<C: Candidate> Bench<C> {
    async fn start(pool: PgPool) -> Self {
        Self::with(pool, &[], plain()).await
    }

    pub(crate) async fn with(pool: PgPool, settings: &[(&str, &str)], certificate: Value) -> Self {
        let vendor = C::start().await;
        let mut own = vendor.settings();
        let mut taps = Vec::new();
        for (_, url) in own.iter_mut().filter(|(_, url)| url.starts_with("http://")) {
            let tap = Tap::start(url).await;
            *url = tap.url();
            taps.push(tap);
        }
        let mut all: Vec<(&str, &str)> = own.iter().map(|(name, value)| (*name, value.as_str())).collect();
        all.extend(settings);
        let world = World::with(pool, &all).await;
        let bench = Self { world, vendor, taps };
        let body = merged(json!({"vendor": C::KIND, "certificate_id": ID}), bench.vendor.certificate());
        bench.post(&format!("/v1/apps/{APP}/certificates"), &merged(body, certificate)).await.ok();
        bench
    }

    /// Killed phones of users `u0`, `u1`, ... with the vendor's tokens 0, 1, ...
    pub(crate) async fn phones(&self, count: usize) -> Vec<String> {
        let users: Vec<String> = (0..count).map(|number| format!("u{number}")).collect();
        let mut events = Vec::new();
        for (number, user) in users.iter().enumerate() {
            let event =
                |kind: &str| merged(self.event(kind, user, &format!("phone-{user}")), json!({"platform": C::PLATFORM}));
            events.push(merged(event("login"), json!({"certificate_id": ID, "token": C::token(number)})));
            events.push(event("disconnect"));
        }
        for some in events.chunks(500) {
            self.events(&Value::Array(some.to_vec())).await;
        }
        users
    }

    /// One phone that was sent to before: the account works, the access token is there.
    async fn warm_phone(&self) {
        self.phones(1).await;
        assert_eq!(self.outcome(&self.sent("u0", plain()).await).await, "accepted", "the first push");
    }

    /// Notifies many users at once.
    pub(crate) async fn sent_to(&self, users: &[String]) -> String {
        let to: Vec<Value> = users.iter().map(|user| json!({"user_id": user})).collect();
        self.sent("", json!({"to": to})).await
    }

    pub(crate) async fn shown_certificate(&self) -> Value {
        self.get(&format!("/v1/apps/{APP}/certificates/{ID}")).await.ok()
    }

    pub(crate) async fn until_state(&self, state: &str) {
        until("the state", || async { (self.shown_certificate().await["state"] == state).then_some(()) }).await;
    }

    async fn change_certificate(&self, change: &Value) {
        self.patch(&format!("/v1/apps/{APP}/certificates/{ID}"), change).await.ok();
    }

    async fn resume(&self) {
        self.post(&format!("/v1/apps/{APP}/certificates/{ID}:resume"), &json!({})).await.ok();
    }

    async fn token_status(&self, user: &str) -> String {
        self.binding(user, &format!("phone-{user}")).await
    }

    /// The code of each attempt.
    pub(crate) async fn codes(&self, notification: &str) -> Vec<String> {
        let attempts = self.told(notification, "attempt").await;
        attempts.iter().map(|attempt| attempt["vendor_code"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// A push whose first attempt fails in this way, and that is accepted by the second.
    async fn recovers(&self, fault: Misbehaviour, reason: &str) {
        let told = format!("{fault:?}");
        self.vendor.controls().fault(Fault::once(fault));
        let notification = self.sent("u0", plain()).await;
        assert_eq!(self.outcome(&notification).await, "accepted", "{told}");
        let codes = self.codes(&notification).await;
        assert_eq!(self.reasons(&notification, "attempt").await, [reason, "accepted"], "{told}: {codes:?}");
        row::<C>(&told, reason, &codes[0]);
    }
}

/// A row of the conformance table, printed when asked for.
fn row<C: Candidate>(case: &str, reason: &str, code: &str) {
    if std::env::var_os("ROUSE_SHOW_TABLE").is_some() {
        crate::chaos::say(&format!("| {} | {case} | {reason} | {code} |", C::KIND));
    }
}

fn seconds(seconds: &str) -> Misbehaviour {
    Misbehaviour::Status { status: 429, body: String::new(), retry_after: Some(seconds.to_owned()) }
}

async fn accepted<C: Candidate>(pool: PgPool) {
    let bench = Bench::<C>::start(pool).await;
    bench.phones(1).await;
    let fields = json!({"title": "小红", "body": "晚上一起吃饭吗？", "conversation_id": "c1", "data": {"ext": "m-1"}});
    let notification = bench.sent("u0", fields).await;
    assert_eq!(bench.outcome(&notification).await, "accepted");
    let inbox = bench.vendor.controls().inbox(&C::token(0));
    assert_eq!(inbox.len(), 1, "{inbox:?}");
    assert_eq!((inbox[0].title.as_str(), inbox[0].body.as_str()), ("小红", "晚上一起吃饭吗？"));
    assert_eq!(inbox[0].payload.as_deref(), Some("m-1"));
    assert!(inbox[0].notify_id.is_some(), "{inbox:?}");
    let attempt = &bench.told(&notification, "attempt").await[0];
    let id = attempt["vendor_message_id"].as_str().unwrap();
    assert!(bench.vendor.has_message_id(id), "{id}");
    assert_eq!(bench.vendor.controls().broken_rules(), std::collections::BTreeMap::new());
    let warnings: Vec<String> = bench.vendor.controls().calls().into_iter().flat_map(|call| call.warnings).collect();
    assert_eq!(warnings, Vec::<String>::new());
    row::<C>("accepted", "accepted", attempt["vendor_code"].as_str().unwrap_or_default());
}

async fn a_batch_goes_out_in_as_few_calls_as_the_vendor_takes<C: Candidate>(pool: PgPool) {
    let bench = Bench::<C>::start(pool).await;
    let users = bench.phones(6).await;
    assert_eq!(bench.outcomes(&bench.sent_to(&users).await).await, json!({"accepted": 6}));
    assert_eq!(bench.vendor.sends(), C::calls_for(6));
    assert_eq!(bench.vendor.controls().inbox_counts().duplicates, 0);
    assert_eq!(bench.vendor.controls().received_total(), 6);
}

async fn a_dead_token_alone_is_unbound<C: Candidate>(pool: PgPool) {
    let bench = Bench::<C>::start(pool).await;
    bench.phones(2).await;
    // Where others are accepted, a dead token is no sign of a wrong account.
    assert_eq!(bench.outcome(&bench.sent("u1", plain()).await).await, "accepted");
    bench.vendor.kill(&C::token(0));
    let notification = bench.sent("u0", plain()).await;
    assert_eq!(bench.idle_outcome(&notification).await, C::DEAD[0]);
    assert_eq!(bench.codes(&notification).await.len(), 1, "a dead token is tried once");
    assert_eq!(
        (bench.token_status("u0").await.as_str(), bench.token_status("u1").await.as_str()),
        ("invalid", "active")
    );
    row::<C>("a dead token alone", C::DEAD[0], &bench.codes(&notification).await[0]);
}

async fn a_dead_token_in_a_batch_hurts_no_other<C: Candidate>(pool: PgPool) {
    let bench = Bench::<C>::start(pool).await;
    let users = bench.phones(6).await;
    assert_eq!(bench.outcome(&bench.sent("u0", plain()).await).await, "accepted");
    bench.vendor.kill(&C::token(3));
    let notification = bench.sent_to(&users).await;
    assert_eq!(bench.outcomes(&notification).await, json!({"accepted": 5, C::DEAD[1]: 1}));
    for user in &users {
        let expected = if user == "u3" { "invalid" } else { "active" };
        assert_eq!(bench.token_status(user).await, expected, "{user}");
    }
    assert_eq!(bench.vendor.controls().inbox_counts().duplicates, 0);
    let gone = bench.told(&notification, "attempt").await.into_iter().find(|event| event["user_id"] == "u3").unwrap();
    row::<C>("a dead token in a batch", C::DEAD[1], gone["vendor_code"].as_str().unwrap());
}

async fn a_muted_device_is_left_alone_where_the_vendor_says_so<C: Candidate>(pool: PgPool) {
    let bench = Bench::<C>::start(pool).await;
    bench.warm_phone().await;
    if bench.vendor.mute(&C::token(0)) {
        let notification = bench.sent("u0", plain()).await;
        assert_eq!(bench.idle_outcome(&notification).await, "muted");
        assert_eq!(bench.token_status("u0").await, "muted");
        row::<C>("notifications off", "muted", &bench.codes(&notification).await[0]);
    } else {
        bench.vendor.controls().mark_token(&C::token(0), TokenState::Off);
        let notification = bench.sent("u0", plain()).await;
        assert_eq!(bench.idle_outcome(&notification).await, "accepted", "not told at the send");
        assert_eq!(bench.token_status("u0").await, "active");
        row::<C>("notifications off", "accepted", "not told at the send");
    }
}

async fn a_refused_certificate_waits_for_its_secret_and_burns_nothing<C: Candidate>(pool: PgPool) {
    let bench = Bench::<C>::start(pool).await;
    bench.warm_phone().await;
    bench.change_certificate(&bench.vendor.wrong_secret()).await;
    let notification = bench.sent("u0", plain()).await;
    bench.until_state("refused").await;
    bench.idle().await;
    assert_eq!(bench.story(&notification).await["waiting"].as_array().unwrap().len(), 1, "it waits");
    assert_eq!(bench.token_status("u0").await, "active");
    let requests = bench.vendor.controls().requests_total();
    let later = bench.sent("u0", plain()).await;
    bench.sweep().await;
    assert_eq!(bench.vendor.controls().requests_total(), requests, "a refused certificate makes no call");
    bench.change_certificate(&bench.vendor.certificate()).await;
    for waiting in [&notification, &later] {
        assert_eq!(bench.outcome(waiting).await, "accepted");
    }
    let attempts = bench.codes(&notification).await;
    assert_eq!(bench.reasons(&notification, "attempt").await, ["certificate_refused", "accepted"], "{attempts:?}");
    row::<C>("a wrong secret", "certificate_refused", &attempts[0]);
}

async fn an_access_token_that_ended_is_replaced_in_the_same_attempt<C: Candidate>(pool: PgPool) {
    let bench = Bench::<C>::start(pool).await;
    bench.warm_phone().await;
    if bench.vendor.expire_access_tokens().is_none() {
        row::<C>("an access token that ended", "-", "has none of its own");
        return;
    }
    assert_eq!(bench.vendor.access_tokens_granted(), 1);
    let expired = bench.sent("u0", plain()).await;
    assert_eq!(bench.idle_outcome(&expired).await, "accepted");
    bench.vendor.revoke_access_tokens();
    // Many at once: one of them fetches the next token.
    let posts = (0..20).map(|_| bench.sent("u0", plain()));
    let notifications = futures_util::future::join_all(posts).await;
    for notification in notifications.iter().chain([&expired]) {
        assert_eq!(bench.idle_outcome(notification).await, "accepted");
        assert_eq!(bench.reasons(notification, "attempt").await, ["accepted"], "one attempt");
    }
    assert_eq!(bench.vendor.access_tokens_granted(), 3);
    row::<C>("an access token that ended", "accepted", "one new token, the same attempt");
}

async fn retry_after_is_honoured<C: Candidate>(pool: PgPool) {
    let bench = Bench::<C>::start(pool).await;
    bench.warm_phone().await;
    let asked_at = bench.server().clock().now();
    bench.vendor.controls().fault(Fault::once(seconds("30")));
    let notification = bench.sent("u0", plain()).await;
    bench.sweep().await;
    let waiting = bench.story(&notification).await["waiting"][0].clone();
    let due_at: DateTime<Utc> = waiting["due_at"].as_str().unwrap().parse().unwrap();
    assert!(due_at >= asked_at + TimeDelta::seconds(30), "{waiting}");
    assert_eq!(bench.outcome(&notification).await, "accepted");
    assert_eq!(bench.reasons(&notification, "attempt").await, ["rate_limited", "accepted"]);
    row::<C>("too fast, Retry-After: 30", "rate_limited", &bench.codes(&notification).await[0]);
}

async fn too_fast_is_tried_again<C: Candidate>(pool: PgPool) {
    let bench = Bench::<C>::start(pool).await;
    bench.warm_phone().await;
    bench.vendor.controls().fault(C::TOO_FAST.once());
    let notification = bench.sent("u0", plain()).await;
    assert_eq!(bench.outcome(&notification).await, "accepted");
    assert_eq!(bench.reasons(&notification, "attempt").await, ["rate_limited", "accepted"]);
    assert_eq!(bench.codes(&notification).await[0], C::TOO_FAST.shown());
    let share = bench.shown_certificate().await["lane"]["rate_share"].as_f64().unwrap();
    assert_eq!(share < 1.0, C::TOO_FAST_SLOWS_THE_LANE, "{share}");
    row::<C>("too fast", "rate_limited", &C::TOO_FAST.shown());
}

async fn a_spent_quota_holds_its_class_and_no_other<C: Candidate>(pool: PgPool) {
    let bench = Bench::<C>::start(pool).await;
    bench.warm_phone().await;
    let Some(quota) = C::QUOTA else {
        row::<C>("the day's quota is spent", "-", "not told at the send");
        return;
    };
    let now = bench.server().clock().now();
    bench.vendor.controls().fault(quota.once());
    let first = bench.sent("u0", plain()).await;
    bench.sweep().await;
    let held: Vec<(String, DateTime<Utc>)> =
        sqlx::query_as("SELECT message_class, held_until FROM certificate_holds").fetch_all(&bench.pool).await.unwrap();
    let reset = rouse::vendor::QuotaReset::CHINA_MIDNIGHT.next(now);
    assert_eq!(held.len(), 1, "{held:?}");
    assert!((held[0].1 - reset).abs() < TimeDelta::seconds(10), "{held:?} is not {reset}");
    let second = bench.sent("u0", plain()).await;
    bench.hurry().await;
    bench.sweep().await;
    for waiting in [&first, &second] {
        assert_eq!(bench.story(waiting).await["waiting"].as_array().unwrap().len(), 1);
    }
    assert_eq!(bench.vendor.sends(), 2, "the first push and the refused one");
    let other = bench.sent("u0", json!({"offline_push_info": {"AndroidInfo": C::other_class()}})).await;
    assert_eq!(bench.idle_outcome(&other).await, "accepted", "another class goes on");
    bench.resume().await;
    for waiting in [&first, &second] {
        assert_eq!(bench.outcome(waiting).await, "accepted");
    }
    assert_eq!(bench.token_status("u0").await, "active");
    row::<C>("the day's quota is spent", "quota_spent", &quota.shown());
}

async fn a_refused_message_is_given_up_and_burns_no_token<C: Candidate>(pool: PgPool) {
    let bench = Bench::<C>::start(pool).await;
    bench.warm_phone().await;
    let sends = bench.vendor.sends();
    bench.vendor.controls().fault(C::REFUSED_MESSAGE.once());
    let notification = bench.sent("u0", plain()).await;
    assert_eq!(bench.idle_outcome(&notification).await, "payload_refused");
    assert_eq!(bench.codes(&notification).await, [C::REFUSED_MESSAGE.shown()]);
    assert_eq!((bench.vendor.sends() - sends, bench.token_status("u0").await.as_str()), (1, "active"));
    assert_eq!(bench.shown_certificate().await["state"], "active");
    row::<C>("the message is refused", "payload_refused", &C::REFUSED_MESSAGE.shown());
}

async fn faults_of_the_vendor_and_of_the_network_pass<C: Candidate>(pool: PgPool) {
    let bench = Bench::<C>::with(pool, &[("VENDORS__CALL_TIMEOUT_MS", "400")], plain()).await;
    bench.warm_phone().await;
    let html = "<html><body>Bad Gateway</body></html>";
    let status = |status, body: &str| Misbehaviour::Status { status, body: body.to_owned(), retry_after: None };
    bench.recovers(status(500, ""), "vendor_fault").await;
    bench.recovers(status(502, html), "vendor_fault").await;
    bench.recovers(Misbehaviour::Hang(None), "timed_out").await;
    bench.recovers(Misbehaviour::Reset, "unreachable").await;
    bench.recovers(Misbehaviour::Truncated, "unreachable").await;
    if C::READS_ANSWERS {
        bench.recovers(Misbehaviour::Empty, "vendor_fault").await;
        bench.recovers(Misbehaviour::Text(html.to_owned()), "vendor_fault").await;
        bench.recovers(Misbehaviour::Text("busy".to_owned()), "vendor_fault").await;
        bench.recovers(Misbehaviour::Text("{\"co".to_owned()), "vendor_fault").await;
    }
    assert_eq!(bench.token_status("u0").await, "active");
    assert_eq!(bench.shown_certificate().await["state"], "active");
}

async fn a_push_whose_answer_was_lost_is_seen_once<C: Candidate>(pool: PgPool) {
    let bench = Bench::<C>::start(pool).await;
    bench.warm_phone().await;
    let shown = bench.vendor.controls().shown(&C::token(0)).len();
    bench.vendor.controls().fault(Fault::once(Misbehaviour::Reset).after_accepting());
    let notification = bench.sent("u0", plain()).await;
    assert_eq!(bench.outcome(&notification).await, "accepted");
    assert_eq!(bench.reasons(&notification, "attempt").await, ["unreachable", "accepted"]);
    assert_eq!(bench.vendor.controls().shown(&C::token(0)).len(), shown + 1, "one notification on the screen");
    let received = bench.vendor.controls().inbox(&C::token(0)).len() - shown;
    let how = if received == 1 { "dropped by the vendor's dedupe key" } else { "replaced by its collapse key" };
    row::<C>("the answer is lost, the push was taken", "unreachable, accepted", how);
}

async fn an_unknown_code_is_tried_three_times_and_blames_nobody<C: Candidate>(pool: PgPool) {
    let bench = Bench::<C>::start(pool).await;
    bench.warm_phone().await;
    let sends = bench.vendor.sends();
    bench.vendor.controls().fault(C::UNKNOWN.misbehaviour());
    let notification = bench.sent("u0", plain()).await;
    assert_eq!(bench.outcomes(&notification).await, json!({"unrecognised": 1}));
    assert_eq!(bench.codes(&notification).await, vec![C::UNKNOWN.shown(); 3]);
    assert_eq!(bench.vendor.sends() - sends, 3);
    assert_eq!(bench.token_status("u0").await, "active");
    assert_eq!(bench.shown_certificate().await["state"], "active");
    row::<C>("an unknown code", "unrecognised", &C::UNKNOWN.shown());
}

async fn a_text_that_is_too_long_is_cut_and_never_refused<C: Candidate>(pool: PgPool) {
    let bench = Bench::<C>::start(pool).await;
    bench.phones(1).await;
    let data = json!({"ext": "\"".repeat(300), "a": "x".repeat(100)});
    let fields = json!({"title": "题".repeat(1_300), "body": "好😀".repeat(580), "data": data});
    let notification = bench.sent("u0", fields).await;
    assert_eq!(bench.outcome(&notification).await, "accepted");
    assert_eq!(bench.vendor.controls().broken_rules(), std::collections::BTreeMap::new());
    let inbox = bench.vendor.controls().inbox(&C::token(0));
    assert!(inbox[0].title.ends_with('…') && inbox[0].body.ends_with('…'), "{inbox:?}");
    let cuts = bench.told(&notification, "attempt").await[0]["detail"]["cut"].clone();
    let told: Vec<&str> = cuts.as_array().unwrap().iter().filter_map(|cut| cut["field"].as_str()).collect();
    assert!(told.contains(&"title") && told.contains(&"body"), "{cuts}");
    row::<C>("texts far too long", "accepted", &format!("cut to {} and {}", cuts[0]["to"], cuts[1]["to"]));
}

/// The time to live of one attempt, of a moment, and of a week are all taken.
async fn any_time_to_live_is_taken<C: Candidate>(pool: PgPool) {
    let bench = Bench::<C>::start(pool).await;
    let users = bench.phones(6).await;
    for ttl_s in [0, 1, 59, 600, 604_800] {
        let notification = bench.sent("u0", json!({"ttl_s": ttl_s})).await;
        if ttl_s != 1 {
            // One second may be over before its turn.
            assert_eq!(bench.outcome(&notification).await, "accepted", "{ttl_s}");
        }
        let to: Vec<Value> = users.iter().map(|user| json!({"user_id": user})).collect();
        if ttl_s > 1 {
            let notification = bench.sent("", json!({"ttl_s": ttl_s, "to": to})).await;
            assert_eq!(bench.outcomes(&notification).await, json!({"accepted": 6}), "{ttl_s}");
        }
    }
    assert_eq!(bench.vendor.controls().broken_rules(), std::collections::BTreeMap::new());
}

/// One device alone, and six together. With `ROUSE_SHOW_BYTES` the exchanges are printed.
async fn the_bytes_on_the_socket<C: Candidate>(pool: PgPool) {
    let bench = Bench::<C>::start(pool).await;
    let users = bench.phones(6).await;
    let fields = json!({"title": "小红", "body": "晚上一起吃饭吗？", "conversation_id": "c1", "data": {"ext": "m-1"}});
    assert_eq!(bench.outcome(&bench.sent("u0", fields).await).await, "accepted");
    assert_eq!(bench.outcomes(&bench.sent_to(&users).await).await, json!({"accepted": 6}));
    // APNs speaks TLS: its bytes are taken inside the stand-in, in the tests of its own.
    let parts: Vec<(bool, String)> = bench.taps.iter().flat_map(Tap::exchange).collect();
    for (is_request, text) in &parts {
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let first_line = head.lines().next().unwrap();
        assert!(
            if *is_request { first_line.starts_with("POST /") } else { first_line == "HTTP/1.1 200 OK" },
            "{first_line}"
        );
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        assert_eq!(length.parse::<usize>().unwrap(), body.len(), "{text}");
        assert!(!text.contains("user-agent"), "nothing that nobody asked for: {text}");
        if std::env::var_os("ROUSE_SHOW_BYTES").is_some() {
            crate::chaos::say(&format!("---- {} {} bytes\n{text}", C::KIND, text.len()));
        }
    }
    assert_eq!(parts.is_empty(), !C::READS_ANSWERS);
}

/// A test for each vendor and case.
macro_rules! candidates {
    ($($vendor:ident: $candidate:ty;)*) => {
        candidates!(@cases [$($vendor: $candidate;)*]
            accepted
            a_batch_goes_out_in_as_few_calls_as_the_vendor_takes
            a_dead_token_alone_is_unbound
            a_dead_token_in_a_batch_hurts_no_other
            a_muted_device_is_left_alone_where_the_vendor_says_so
            a_refused_certificate_waits_for_its_secret_and_burns_nothing
            an_access_token_that_ended_is_replaced_in_the_same_attempt
            retry_after_is_honoured
            too_fast_is_tried_again
            a_spent_quota_holds_its_class_and_no_other
            a_refused_message_is_given_up_and_burns_no_token
            faults_of_the_vendor_and_of_the_network_pass
            a_push_whose_answer_was_lost_is_seen_once
            an_unknown_code_is_tried_three_times_and_blames_nobody
            a_text_that_is_too_long_is_cut_and_never_refused
            any_time_to_live_is_taken
            the_bytes_on_the_socket
            the_preview_is_what_is_sent
        );
    };
    (@cases $vendors:tt $($case:ident)*) => { $(candidates!(@case $case $vendors);)* };
    (@case $case:ident [$($vendor:ident: $candidate:ty;)*]) => {
        mod $case {
            $(
                #[sqlx::test(migrator = "rouse::MIGRATOR")]
                async fn $vendor(pool: sqlx::PgPool) {
                    super::$case::<$candidate>(pool).await;
                }
            )*
        }
    };
}

candidates! {
    apns: crate::conformance::apns::Apns;
    xiaomi: crate::conformance::xiaomi::Xiaomi;
    huawei: crate::conformance::huawei::Huawei<false>;
    huawei_always_200: crate::conformance::huawei::Huawei<true>;
    meizu: crate::conformance::meizu::Meizu;
    vivo: crate::conformance::vivo::Vivo;
    oppo: crate::conformance::oppo::Oppo;
}
