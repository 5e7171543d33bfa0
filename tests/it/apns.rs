//! APNs end to end: the adapter against the strict stand-in, over TLS and HTTP/2.

mod badges;

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use rouse::clock::Clock;
use rouse::simulator::{
    ApnsCertificateOrder, ApnsEnvironment, ApnsKey, ApnsSimulator, ApnsTeam, ApnsWorld, Fault, GoAway, Latency,
    Misbehaviour,
};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::world::{APP, World, merged, plain, until};

const TOPIC: &str = "com.example.chat";
const TEAM: &str = "TEAM123456";
const KEY: &str = "ABC123DEFG";
const APNS_CERTIFICATE: i64 = 20_001;
const ALICES_TOKEN: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A device serves one user at a time.
fn iphone_of(user: &str) -> String {
    format!("iphone-of-{user}")
}

/// The fixture with an APNs stand-in, its key and a certificate.
struct Apns {
    world: World,
    vendor: ApnsSimulator,
    key: ApnsKey,
    /// Holds the stand-in's CA while the server may read it.
    _ca: CaFile,
}

impl Deref for Apns {
    type Target = World;
    fn deref(&self) -> &World {
        &self.world
    }
}

/// A CA file that goes with the test.
pub(crate) struct CaFile(pub(crate) std::path::PathBuf);

impl CaFile {
    pub(crate) fn of(vendor: &ApnsSimulator) -> Self {
        let path = std::env::temp_dir().join(format!("rouse-it-{}-{}.pem", std::process::id(), vendor.addr().port()));
        vendor.write_ca(&path).unwrap();
        Self(path)
    }
}

impl Drop for CaFile {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

impl Apns {
    async fn start(pool: PgPool) -> Self {
        Self::with(pool, |_| {}, &[]).await
    }

    async fn with(pool: PgPool, change: impl FnOnce(&mut ApnsWorld), settings: &[(&str, &str)]) -> Self {
        let key = ApnsKey::generate(KEY, TEAM).unwrap();
        let mut apple = ApnsWorld {
            environment: ApnsEnvironment::Production,
            teams: vec![ApnsTeam { id: TEAM.to_owned(), topics: vec![TOPIC.to_owned()] }],
            keys: vec![key.clone()],
            ..ApnsWorld::default()
        };
        change(&mut apple);
        let vendor = ApnsSimulator::start(SocketAddr::from(([127, 0, 0, 1], 0)), apple).await.unwrap();
        let ca = CaFile::of(&vendor);
        let url = vendor.url();
        let mut all =
            vec![("VENDORS__APNS__PRODUCTION", url.as_str()), ("VENDORS__EXTRA_CA_FILE", ca.0.to_str().unwrap())];
        all.extend(settings);
        let world = World::with(pool, &all).await;
        let apns = Self { world, vendor, key, _ca: ca };
        apns.apns_certificate(APNS_CERTIFICATE, plain()).await;
        apns.iphone("alice", ALICES_TOKEN).await;
        apns
    }

    async fn apns_certificate(&self, id: i64, fields: Value) -> Value {
        let body = json!({"vendor": "apns", "certificate_id": id, "topic": TOPIC, "environment": "production",
            "key_p8": self.key.p8_pem(), "key_id": KEY, "team_id": TEAM});
        self.post(&format!("/v1/apps/{APP}/certificates"), &merged(body, fields)).await.ok()
    }

    async fn apns_state(&self) -> String {
        let shown = self.get(&format!("/v1/apps/{APP}/certificates/{APNS_CERTIFICATE}")).await.ok();
        shown["state"].as_str().unwrap().to_owned()
    }

    /// A killed iPhone.
    async fn iphone(&self, user: &str, token: &str) {
        let event = |kind: &str| merged(self.event(kind, user, &iphone_of(user)), json!({"platform": "ios"}));
        let login = merged(event("login"), json!({"certificate_id": APNS_CERTIFICATE, "token": token}));
        assert_eq!(self.events(&json!([login, event("disconnect")])).await, ["applied", "applied"]);
    }

    /// The one push a phone got.
    fn only_push(&self, token: &str) -> rouse::simulator::Received {
        let mut inbox = self.vendor.inbox(token);
        assert_eq!(inbox.len(), 1, "{inbox:?}");
        inbox.remove(0)
    }
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_killed_iphone_gets_everything_the_message_says(pool: PgPool) {
    let apns = Apns::start(pool).await;
    let fields = json!({"title": "小红", "body": "晚上一起吃饭吗？", "conversation_id": "c1", "data": {"ext": "m-1"},
        "to": [{"user_id": "alice", "badge": 3}],
        "offline_push_info": {"ApnsInfo": {"SubTitle": "Team", "Sound": "ding.caf", "MutableContent": 1}}});
    let accepted = apns.notify("alice", fields).await;
    let notification = crate::world::id(&accepted);
    assert_eq!(apns.outcome(&notification).await, "accepted");
    let push = apns.only_push(ALICES_TOKEN);
    assert_eq!((push.title.as_str(), push.body.as_str()), ("小红", "晚上一起吃饭吗？"));
    assert_eq!(
        (push.app.as_str(), push.payload.as_deref(), push.notify_id.as_deref()),
        (TOPIC, Some("m-1"), Some("c1"))
    );
    let attempt = &apns.told(&notification, "attempt").await[0];
    assert_eq!(attempt["vendor_message_id"], push.message_id.as_str());
    assert_eq!(attempt["delivery_id"], push.message_id.as_str(), "apns-id is the delivery's id");
    assert_eq!(apns.vendor.broken_rules(), std::collections::BTreeMap::new());
    let call = apns.vendor.calls().remove(0);
    assert_eq!(call.header("apns-push-type"), Some("alert"));
    assert_eq!(call.header("apns-priority"), Some("10"));
    let expires: i64 = call.header("apns-expiration").unwrap().parse().unwrap();
    assert!((86_000..=86_400).contains(&(expires - apns.now_ms() / 1_000)));
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn all_topics_and_connections_of_a_key_share_one_token(pool: PgPool) {
    let apns = Apns::with(pool, |apple| apple.teams[0].topics.push("com.example.other".to_owned()), &[]).await;
    apns.apns_certificate(APNS_CERTIFICATE + 1, json!({"topic": "com.example.other"})).await;
    let login = merged(
        apns.event("login", "bob", &iphone_of("bob")),
        json!({"platform": "ios", "token": "bb".repeat(32),
        "certificate_id": APNS_CERTIFICATE + 1}),
    );
    let killed = merged(apns.event("disconnect", "bob", &iphone_of("bob")), json!({"platform": "ios"}));
    apns.events(&json!([login, killed])).await;
    for _ in 0..20 {
        apns.sent("alice", plain()).await;
        apns.sent("bob", plain()).await;
    }
    until("40 pushes", || async { (apns.vendor.received_total() == 40).then_some(()) }).await;
    let tokens: std::collections::HashSet<String> =
        apns.vendor.calls().iter().filter_map(|call| call.header("authorization").map(str::to_owned)).collect();
    assert_eq!(tokens.len(), 1, "one JWT for two certificates on two connections");
    assert!(apns.vendor.connections_opened() <= 2, "{} connections", apns.vendor.connections_opened());
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_client_certificate_speaks_for_itself(pool: PgPool) {
    let apns = Apns::start(pool).await;
    let issued = apns.vendor.authority().issue(&ApnsCertificateOrder::new(TOPIC)).unwrap();
    let path = format!("/v1/apps/{APP}/certificates/{APNS_CERTIFICATE}");
    let no_key = json!({"key_p8": null, "key_id": null, "team_id": null});
    let pem = json!({"certificate_pem": issued.certificate_pem(), "key_pem": issued.key_pem()});
    apns.patch(&path, &merged(no_key, pem)).await.ok();
    assert_eq!(apns.outcome(&apns.sent("alice", plain()).await).await, "accepted");
    let p12 = base64::engine::general_purpose::STANDARD.encode(issued.p12("hunter2").unwrap());
    let no_pem = json!({"certificate_pem": null, "key_pem": null, "p12": p12, "p12_password": "hunter2"});
    apns.patch(&path, &no_pem).await.ok();
    assert_eq!(apns.outcome(&apns.sent("alice", plain()).await).await, "accepted");
    assert!(apns.vendor.calls().iter().all(|call| call.header("authorization").is_none()));
    // Revoked: the certificate is paused, the message waits.
    apns.vendor.revoke_certificate(&issued);
    let notification = apns.sent("alice", plain()).await;
    until("a refusal", || async { (apns.apns_state().await == "refused").then_some(()) }).await;
    apns.idle().await;
    assert_eq!(apns.story(&notification).await["waiting"].as_array().unwrap().len(), 1);
    // Back to the key: what waited goes out.
    let key = json!({"key_p8": apns.key.p8_pem(), "key_id": KEY, "team_id": TEAM, "p12": null, "p12_password": null});
    apns.patch(&path, &key).await.ok();
    assert_eq!(apns.outcome(&notification).await, "accepted");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_dead_token_is_unbound_unless_it_was_reported_after_apples_timestamp(pool: PgPool) {
    let apns = Apns::start(pool).await;
    let binding = || async { apns.binding("alice", &iphone_of("alice")).await };
    // Apple knew it to be dead an hour before it was reported: somebody else's past.
    apns.vendor.kill_token_at(ALICES_TOKEN, apns.now_ms() - 3_600_000);
    let notification = apns.sent("alice", plain()).await;
    assert_eq!(apns.idle_outcome(&notification).await, "token_gone");
    assert_eq!(binding().await, "active");
    let attempt = &apns.told(&notification, "attempt").await[0];
    assert_eq!(attempt["vendor_code"], "Unregistered");
    assert!(attempt["detail"]["gone_since"].is_string(), "{attempt}");
    apns.vendor.kill_token_at(ALICES_TOKEN, apns.now_ms());
    // The report is no longer a moment ago for this instance either.
    sqlx::query("UPDATE devices SET reported_at = reported_at - interval '1 minute'")
        .execute(&apns.pool)
        .await
        .unwrap();
    let notification = apns.sent("alice", plain()).await;
    assert_eq!(apns.idle_outcome(&notification).await, "token_gone");
    assert_eq!(binding().await, "invalid");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn reasons_end_as_their_row_says(pool: PgPool) {
    let apns = Apns::start(pool).await;
    for (reason, outcome) in [
        ("DeviceTokenNotForTopic", "payload_refused"),
        ("PayloadTooLarge", "payload_refused"),
        ("BadDeviceToken", "token_malformed"),
    ] {
        apns.vendor.answer_next(reason);
        let notification = apns.sent("alice", plain()).await;
        assert_eq!(apns.idle_outcome(&notification).await, outcome);
        assert_eq!(apns.told(&notification, "attempt").await[0]["vendor_code"], reason);
    }
    assert_eq!(
        apns.binding("alice", &iphone_of("alice")).await,
        "active",
        "no success yet: the environment may be wrong"
    );
    for reason in
        ["InternalServerError", "ServiceUnavailable", "Shutdown", "IdleTimeout", "TooManyRequests", "422 Newest"]
    {
        apns.vendor.answer_next(reason);
        let notification = apns.sent("alice", plain()).await;
        assert_eq!(apns.outcome(&notification).await, "accepted", "{reason}");
        let code = reason.trim_start_matches("422 ");
        assert_eq!(apns.told(&notification, "attempt").await[0]["vendor_code"], code);
    }
    let share =
        apns.get(&format!("/v1/apps/{APP}/certificates/{APNS_CERTIFICATE}")).await.ok()["lane"]["rate_share"].clone();
    assert_eq!(share, 1.0, "429 TooManyRequests is about one device: the lane keeps its pace");
    apns.vendor.answer_next("TopicDisallowed");
    let notification = apns.sent("alice", plain()).await;
    until("a refusal", || async { (apns.apns_state().await == "refused").then_some(()) }).await;
    apns.post(&format!("/v1/apps/{APP}/certificates/{APNS_CERTIFICATE}:resume"), &json!({})).await.ok();
    assert_eq!(apns.outcome(&notification).await, "accepted", "nothing is burnt");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_wrong_environment_pauses_the_certificate_and_unbinds_nobody(pool: PgPool) {
    let apns = Apns::with(pool, |_| {}, &[("DISPATCH__SUSPECT_ANSWERS", "5")]).await;
    let users: Vec<String> = (0..10).map(|number| format!("user{number}")).collect();
    for (number, user) in users.iter().enumerate() {
        let token = format!("{number:064x}");
        apns.vendor.set_token_environment(&token, ApnsEnvironment::Sandbox);
        apns.iphone(user, &token).await;
    }
    for user in &users {
        apns.sent(user, plain()).await;
        apns.idle().await;
    }
    until("a refusal", || async { (apns.apns_state().await == "refused").then_some(()) }).await;
    for user in &users {
        assert_eq!(apns.binding(user, &iphone_of(user)).await, "active");
    }
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn what_the_server_did_not_look_at_is_sent_again_at_once(pool: PgPool) {
    let apns = Apns::start(pool).await;
    for fault in [Misbehaviour::RefuseStream, Misbehaviour::GoAway(GoAway::unprocessed("Shutdown"))] {
        apns.vendor.fault(Fault::once(fault.clone()));
        let notification = apns.sent("alice", plain()).await;
        assert_eq!(apns.idle_outcome(&notification).await, "accepted", "{fault:?}");
        assert_eq!(apns.reasons(&notification, "attempt").await, ["accepted"], "one attempt: {fault:?}");
    }
    // Gracefully, under load: nothing fails, nothing comes twice.
    apns.vendor.set_latency(Latency { min_ms: 1, max_ms: 10 });
    apns.vendor.leave_after(25, Some("Shutdown"));
    let before = apns.vendor.connections_opened();
    let ids: Vec<String> = (0..300).map(|number| format!("g-{number}")).collect();
    for some in ids.chunks(50) {
        let posts = some.iter().map(|id| {
            let body = apns.message("alice", json!({"message_id": id, "data": {"ext": id}}));
            let apns = &apns;
            async move { apns.post_notification(&body).await.ok() }
        });
        futures_util::future::join_all(posts).await;
    }
    apns.idle().await;
    apns.vendor.leave_after(0, None);
    until("all", || async {
        apns.sweep().await;
        apns.hurry().await;
        ids.iter().all(|id| apns.vendor.payload_count(id) > 0).then_some(())
    })
    .await;
    assert!(apns.vendor.connections_opened() > before + 5, "it did leave");
    assert_eq!(apns.vendor.inbox_counts().duplicates, 0);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn broken_connections_and_bodies_are_tried_again_under_the_same_id(pool: PgPool) {
    let apns = Apns::with(pool, |_| {}, &[("VENDORS__CALL_TIMEOUT_MS", "300")]).await;
    for (misbehaviour, reason) in [
        (Misbehaviour::Reset, "unreachable"),
        (Misbehaviour::Hang(None), "timed_out"),
        (Misbehaviour::Status { status: 503, body: String::new(), retry_after: None }, "vendor_fault"),
        (Misbehaviour::Status { status: 502, body: "<html>bad</html>".to_owned(), retry_after: None }, "vendor_fault"),
        (Misbehaviour::SlowCode { code: "ServiceUnavailable".into(), pause: Duration::from_secs(2) }, "timed_out"),
    ] {
        apns.vendor.fault(Fault::once(misbehaviour.clone()));
        let notification = apns.sent("alice", plain()).await;
        assert_eq!(apns.outcome(&notification).await, "accepted", "{misbehaviour:?}");
        assert_eq!(apns.reasons(&notification, "attempt").await, [reason, "accepted"], "{misbehaviour:?}");
    }
    // The push was shown, its answer was lost: the second one has the same id and replaces it on the phone.
    apns.vendor.fault(Fault::once(Misbehaviour::Reset).after_accepting());
    let shown_before = apns.vendor.shown(ALICES_TOKEN).len();
    let notification = apns.sent("alice", plain()).await;
    assert_eq!(apns.outcome(&notification).await, "accepted");
    assert_eq!(apns.vendor.inbox_counts().duplicates, 1);
    assert_eq!(apns.vendor.shown(ALICES_TOKEN).len(), shown_before + 1, "one notification on the screen");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn an_expired_provider_token_means_a_wrong_clock_when_it_is_young(pool: PgPool) {
    // Apple's clock goes with the server's.
    let ahead_ms = Arc::new(AtomicI64::new(0));
    let (apples_ahead_ms, wall) = (Arc::clone(&ahead_ms), Clock::from_wall());
    let now = move || wall.now().timestamp_millis() + apples_ahead_ms.load(Ordering::Relaxed);
    let apns = Apns::with(pool, |apple| apple.now = Arc::new(now), &[]).await;
    apns.vendor.answer_next("ExpiredProviderToken");
    let notification = apns.sent("alice", plain()).await;
    until("a refusal", || async { (apns.apns_state().await == "refused").then_some(()) }).await;
    apns.idle().await;
    assert_eq!(apns.told(&notification, "attempt").await[0]["vendor_code"], "ExpiredProviderToken");
    apns.post(&format!("/v1/apps/{APP}/certificates/{APNS_CERTIFICATE}:resume"), &json!({})).await.ok();
    assert_eq!(apns.outcome(&notification).await, "accepted");
    // Half an hour later it is renewed once and the push goes on, in one attempt.
    apns.advance(chrono::TimeDelta::minutes(30));
    ahead_ms.store(30 * 60_000, Ordering::Relaxed);
    apns.vendor.answer_next("ExpiredProviderToken");
    let notification = apns.sent("alice", plain()).await;
    assert_eq!(apns.idle_outcome(&notification).await, "accepted");
    assert_eq!(apns.reasons(&notification, "attempt").await, ["accepted"]);
}

/// A push is a stream, not a connection: hundreds are in flight on two.
#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn hundreds_of_pushes_are_in_flight_on_two_connections(pool: PgPool) {
    let apns = Apns::start(pool).await;
    assert_eq!(apns.outcome(&apns.sent("alice", plain()).await).await, "accepted", "the connections stand");
    apns.vendor.set_latency(Latency::fixed(1_500));
    let since = std::time::Instant::now();
    let posts = (0..300).map(|number| {
        let body = apns.message("alice", json!({"data": {"ext": format!("w-{number}")}}));
        let apns = &apns;
        async move { apns.post_notification(&body).await.ok() }
    });
    futures_util::future::join_all(posts).await;
    until("300 pushes", || async { (apns.vendor.received_total() >= 301).then_some(()) }).await;
    // 64 at a time would be five rounds of 1.5 s.
    assert!(since.elapsed() < Duration::from_secs(6), "{:?}", since.elapsed());
    assert!(apns.vendor.connections_opened() <= 2);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_stream_limit_is_kept_whatever_it_is(pool: PgPool) {
    let apns = Apns::with(
        pool,
        |apple| {
            apple.streams = 3;
            apple.slows_after_errors = true;
        },
        &[],
    )
    .await;
    apns.vendor.set_latency(Latency { min_ms: 1, max_ms: 5 });
    let posts = (0..100).map(|number| {
        let body = apns.message("alice", json!({"data": {"ext": format!("s-{number}")}}));
        let apns = &apns;
        async move { apns.post_notification(&body).await.ok() }
    });
    futures_util::future::join_all(posts).await;
    until("100 pushes", || async {
        apns.sweep().await;
        apns.hurry().await;
        (0..100).all(|number| apns.vendor.payload_count(&format!("s-{number}")) > 0).then_some(())
    })
    .await;
    apns.vendor.answer_next("DeviceTokenNotForTopic");
    apns.sent("alice", plain()).await;
    apns.idle().await;
    assert_eq!(apns.outcome(&apns.sent("alice", plain()).await).await, "accepted", "one stream is enough");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_connection_that_fell_silent_is_found_and_replaced(pool: PgPool) {
    let apns =
        Apns::with(pool, |_| {}, &[("VENDORS__CALL_TIMEOUT_MS", "500"), ("VENDORS__APNS__CONNECTIONS", "1")]).await;
    assert_eq!(apns.outcome(&apns.sent("alice", plain()).await).await, "accepted");
    let opened = apns.vendor.connections_opened();
    apns.vendor.freeze_connections();
    let notification = apns.sent("alice", plain()).await;
    assert_eq!(apns.outcome(&notification).await, "accepted");
    let reasons = apns.reasons(&notification, "attempt").await;
    assert!(reasons.len() <= 4, "{reasons:?}");
    assert!(apns.vendor.connections_opened() > opened);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn the_text_is_trimmed_to_the_payload_and_told(pool: PgPool) {
    let apns = Apns::start(pool).await;
    let notification = apns.sent("alice", json!({"body": "好".repeat(1_365), "data": {"k": "v".repeat(900)}})).await;
    assert_eq!(apns.outcome(&notification).await, "accepted");
    let cut = &apns.told(&notification, "attempt").await[0]["detail"]["cut"][0];
    assert_eq!((&cut["field"], &cut["from"]), (&json!("body"), &json!(4_095)));
    assert!(apns.only_push(ALICES_TOKEN).body.ends_with('…'));
    assert!(apns.vendor.calls()[0].body.len() > 4_080);
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn bad_accounts_and_tokens_are_refused_with_the_field_named(pool: PgPool) {
    let apns = Apns::start(pool).await;
    let path = format!("/v1/apps/{APP}/certificates");
    let good = json!({"vendor": "apns", "topic": TOPIC, "environment": "production", "key_p8": apns.key.p8_pem(),
        "key_id": KEY, "team_id": TEAM});
    for (change, field) in [
        (json!({"topic": null}), "topic"),
        (json!({"environment": "beta"}), "environment"),
        (json!({"key_p8": "-----BEGIN NONSENSE-----"}), "key_p8"),
        (json!({"team_id": "x"}), "team_id"),
        (json!({"p12": "AAAA"}), "key_p8"),
        (json!({"package_name": "com.example"}), "package_name"),
        (json!({"defaults": {"priority": 3}}), "defaults.priority"),
    ] {
        let answer = apns.post(&path, &merged(good.clone(), change.clone())).await;
        assert_eq!(answer.problem(400, "invalid-body"), field, "{change}");
    }
    let shown = apns.get(&format!("{path}/{APNS_CERTIFICATE}")).await.ok().to_string();
    assert!(!shown.contains("PRIVATE KEY"), "secrets never come out");
    let binding = |token: &str| json!({"certificate_id": APNS_CERTIFICATE, "token": token, "platform": "ios"});
    let device = format!("/v1/apps/{APP}/users/carol/devices/iphone/binding");
    assert_eq!(apns.put(&device, &binding("xyz")).await.problem(400, "invalid-body"), "token");
    apns.put(&device, &binding(&"AB".repeat(32))).await.ok();
    let stored: String =
        sqlx::query_scalar("SELECT token FROM devices WHERE user_id = 'carol'").fetch_one(&apns.pool).await.unwrap();
    assert_eq!(stored, "ab".repeat(32), "lower case, as Apple's path has it");
}

/// What really goes over the wire, decrypted: the preface of HTTP/2, and each payload as it is. With `ROUSE_SHOW_BYTES` the
/// exchange is printed.
#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn the_bytes_on_the_socket_are_http_2_and_raw_utf_8(pool: PgPool) {
    let apns = Apns::with(pool, |apple| apple.capture_bytes = 64 * 1024, &[]).await;
    let fields = json!({"title": "小红", "body": "晚上一起吃饭吗？", "conversation_id": "c1", "data": {"ext": "m-1"}});
    assert_eq!(apns.outcome(&apns.sent("alice", fields).await).await, "accepted");
    let captured = apns.vendor.captured();
    let all: Vec<u8> = captured.iter().flat_map(|part| part.bytes.iter().copied()).collect();
    let contains = |wanted: &str| all.windows(wanted.len()).any(|window| window == wanted.as_bytes());
    assert!(contains("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
    assert!(contains(
        r#"{"aps":{"alert":{"title":"小红","body":"晚上一起吃饭吗？"},"sound":"default","thread-id":"c1"},"ext":"m-1"}"#
    ));
    if std::env::var_os("ROUSE_SHOW_BYTES").is_some() {
        for part in &captured {
            let bytes = String::from_utf8_lossy(&part.bytes).escape_debug().to_string();
            crate::chaos::say(&format!("{:?} {} bytes: {bytes}", part.direction, part.bytes.len()));
        }
        crate::chaos::say(&apns.vendor.calls()[0].transcript());
    }
}
