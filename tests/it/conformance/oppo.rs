//! OPPO in the conformance suite, and what is its alone.

use std::net::SocketAddr;

use rouse::simulator::{Controls, Fault, Misbehaviour, OppoApp, OppoSimulator, OppoWorld, TokenState};
use serde_json::{Value, json};
use sqlx::PgPool;

use super::{Bench, Candidate, Says, access_tokens};
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

    access_tokens!();

    fn is_send(path: &str) -> bool {
        path != "/server/v1/auth"
    }
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn each_message_of_a_batch_is_shown_once(pool: PgPool) {
    let bench = Bench::<Oppo>::start(pool).await;
    let users = bench.phones(230).await;
    // The first batch is taken, and its answer is lost.
    bench.vendor.0.fault(Fault::once(Misbehaviour::Reset).after_accepting().for_token(Oppo::token(0)));
    assert_eq!(bench.outcomes(&bench.sent_to(&users).await).await, json!({"accepted": 230}));
    assert_eq!((bench.vendor.0.received_total(), bench.vendor.0.inbox_counts().duplicates), (230, 0));
    assert_eq!(bench.vendor.sends(), 4, "100, 100, 30, and one again");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_private_template_is_filled_from_the_texts(pool: PgPool) {
    let bench = Bench::<Oppo>::start(pool).await;
    bench.vendor.0.put_app(OppoApp { template_required: true, ..OppoApp::new(KEY, SECRET) });
    bench.phones(1).await;
    let notification = bench.sent("u0", plain()).await;
    assert_eq!(bench.idle_outcome(&notification).await, "payload_refused");
    assert_eq!(bench.codes(&notification).await, ["54"]);
    let template = json!({"category": "IM", "notify_level": 16, "private_msg_template_id": "tpl_001",
        "private_title_params": {"who": "title"}, "private_content_params": {"what": "body"}});
    bench.change_certificate(&json!({"defaults": template})).await;
    let notification = bench.sent("u0", json!({"title": "小红", "body": "晚上一起吃饭吗？"})).await;
    assert_eq!(bench.idle_outcome(&notification).await, "accepted");
    let call = bench.vendor.0.calls().pop().unwrap();
    let message: Value = serde_json::from_str(call.field("message").unwrap()).unwrap();
    let notice = &message["notification"];
    assert_eq!(notice["private_title_parameters"], r#"{"who":"小红"}"#);
    assert_eq!(notice["private_content_parameters"], r#"{"what":"晚上一起吃饭吗？"}"#);
    assert_eq!(call.warnings, Vec::<String>::new());
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn the_region_chooses_the_host(pool: PgPool) {
    let abroad = OppoWorld { region: "intl".to_owned(), apps: vec![OppoApp::new(KEY, SECRET)], ..OppoWorld::default() };
    let abroad = OppoSimulator::start(SocketAddr::from(([127, 0, 0, 1], 0)), abroad).await.unwrap();
    let settings = [("VENDORS__OPPO__INTL", &*abroad.url())];
    let bench = Bench::<Oppo>::with(pool, &settings, json!({"region": "intl"})).await;
    let token = format!("OPPO_IN_{:032x}", 1);
    let login = crate::world::merged(
        bench.event("login", "mina", "phone"),
        json!({"certificate_id": super::ID, "token": token}),
    );
    bench.events(&json!([login, bench.event("disconnect", "mina", "phone")])).await;
    assert_eq!(bench.outcome(&bench.sent("mina", plain()).await).await, "accepted");
    assert_eq!((abroad.inbox(&token).len(), bench.vendor.0.requests_total()), (1, 0));
    // A phone of the mainland under this certificate: refused, and nobody is unbound while nothing else is accepted.
    bench.phones(1).await;
    let notification = bench.sent("u0", plain()).await;
    assert_eq!(bench.idle_outcome(&notification).await, "token_malformed");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_bad_id_that_refuses_the_whole_batch_is_found(pool: PgPool) {
    let bench = Bench::<Oppo>::start(pool).await;
    let users = bench.phones(7).await;
    assert_eq!(bench.outcome(&bench.sent("u0", plain()).await).await, "accepted");
    let bad = Misbehaviour::Code { code: "10000".into(), reason: None };
    bench.vendor.0.fault(Fault::always(bad).for_token(Oppo::token(4)));
    let notification = bench.sent_to(&users).await;
    assert_eq!(bench.outcomes(&notification).await, json!({"accepted": 6, "token_malformed": 1}));
    assert_eq!(bench.token_status("u4").await, "invalid");
    assert_eq!(bench.codes(&notification).await.len(), 7, "one attempt for each device");
}
