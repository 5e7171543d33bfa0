//! The demo's simulated vendors, as one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};

use super::Fallible;
use super::report::Inbox;
use crate::clock::Clock;
use crate::config::Settings;
use crate::domain::certificate::VendorKind;
use crate::secrets::hex_digest;
use crate::simulator::{
    ApnsKey, ApnsSimulator, ApnsTeam, ApnsWorld, ChannelClass, Controls, Fault, HuaweiApp, HuaweiSimulator,
    HuaweiWorld, Latency, MeizuApp, MeizuSimulator, MeizuWorld, OppoApp, OppoSimulator, OppoWorld, Received,
    TokenState, VivoApp, VivoSimulator, VivoWorld, XiaomiApp, XiaomiChannel, XiaomiSimulator, XiaomiWorld,
};

/// The channel of chat messages, without a limit.
pub(super) const CHAT_CHANNEL: &str = "120001";
/// The channel of news, with a small daily quota.
pub(super) const NEWS_CHANNEL: &str = "120002";
/// How much news each package may send a day: few, so that the demo shows what happens then.
const NEWS_QUOTA: u64 = 8;

const TEAM: &str = "DEMOTEAM01";
const KEY: &str = "DEMOKEY001";
const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// How slow each vendor is: very different, and none delays the messages of another.
const fn latency_of(vendor: VendorKind) -> Latency {
    let (min_ms, max_ms) = match vendor {
        VendorKind::Apns => (20, 60),
        VendorKind::Xiaomi => (5, 30),
        VendorKind::Huawei => (30, 90),
        VendorKind::Meizu => (300, 600),
        VendorKind::Vivo => (10, 25),
        _ => (60, 150),
    };
    Latency { min_ms, max_ms }
}

/// See the module. Clones share it.
#[derive(Clone)]
pub(super) struct Vendors {
    xiaomi: XiaomiSimulator,
    apns: ApnsSimulator,
    huawei: HuaweiSimulator,
    meizu: MeizuSimulator,
    vivo: VivoSimulator,
    oppo: OppoSimulator,
    key: ApnsKey,
    ca: Arc<CaFile>,
}

/// The certificate authority of the simulated APNs, in a file for as long as the demo runs.
struct CaFile(PathBuf);

impl Drop for CaFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::warn!(%error, file = %self.0.display(), "cannot remove a temporary file");
        }
    }
}

/// What one vendor did, for the view.
pub(super) struct Activity {
    pub vendor: VendorKind,
    pub received: u64,
    pub calls: u64,
    pub refused: u64,
    pub failed_on_purpose: u64,
    /// How long it takes for an answer, in milliseconds.
    pub latency: Latency,
}

impl Vendors {
    /// Starts them, with the server's clock, so that times between the two sides can be measured.
    pub(super) async fn start(clock: &Clock) -> Fallible<Self> {
        let now = || {
            let clock = clock.clone();
            Arc::new(move || clock.now().timestamp_millis())
        };
        let xiaomi = XiaomiSimulator::start(LOOPBACK, XiaomiWorld { now: now(), ..XiaomiWorld::default() }).await?;
        let key = ApnsKey::generate(KEY, TEAM)?;
        let world = ApnsWorld { keys: vec![key.clone()], now: now(), ..ApnsWorld::default() };
        let apns = ApnsSimulator::start(LOOPBACK, world).await?;
        let path = std::env::temp_dir().join(format!("rouse-demo-{}-ca.pem", std::process::id()));
        apns.write_ca(&path)?;
        let vendors = Self {
            xiaomi,
            apns,
            huawei: HuaweiSimulator::start(LOOPBACK, HuaweiWorld { now: now(), ..HuaweiWorld::default() }).await?,
            meizu: MeizuSimulator::start(LOOPBACK, MeizuWorld { now: now(), ..MeizuWorld::default() }).await?,
            vivo: VivoSimulator::start(LOOPBACK, VivoWorld { now: now(), ..VivoWorld::default() }).await?,
            oppo: OppoSimulator::start(LOOPBACK, OppoWorld { now: now(), ..OppoWorld::default() }).await?,
            key,
            ca: Arc::new(CaFile(path)),
        };
        vendors.be_slow();
        Ok(vendors)
    }

    /// Each with what the demo does to all of them alike.
    fn all(&self) -> [(VendorKind, &Controls); 6] {
        [
            (VendorKind::Apns, &self.apns),
            (VendorKind::Xiaomi, &self.xiaomi),
            (VendorKind::Huawei, &self.huawei),
            (VendorKind::Meizu, &self.meizu),
            (VendorKind::Vivo, &self.vivo),
            (VendorKind::Oppo, &self.oppo),
        ]
    }

    fn be_slow(&self) {
        for (vendor, controls) in self.all() {
            controls.set_latency(latency_of(vendor));
        }
    }

    /// Where each listens.
    pub(super) fn urls(&self) -> [(VendorKind, String); 6] {
        [
            (VendorKind::Apns, self.apns.url()),
            (VendorKind::Xiaomi, self.xiaomi.url()),
            (VendorKind::Huawei, self.huawei.url()),
            (VendorKind::Meizu, self.meizu.url()),
            (VendorKind::Vivo, self.vivo.url()),
            (VendorKind::Oppo, self.oppo.url()),
        ]
    }

    /// Where Xiaomi's listens.
    pub(super) fn xiaomi_url(&self) -> String {
        self.xiaomi.url()
    }

    /// No message of the demo leaves this machine, whatever is configured.
    pub(super) fn point_at(&self, settings: &mut Settings) {
        let vendors = &mut settings.vendors;
        let hosts = &mut vendors.xiaomi;
        for host in [&mut hosts.cn, &mut hosts.ru, &mut hosts.r#in, &mut hosts.eu, &mut hosts.sg] {
            *host = self.xiaomi.url();
        }
        vendors.apns.production = self.apns.url();
        vendors.apns.sandbox = self.apns.url();
        vendors.huawei.push = self.huawei.url();
        vendors.huawei.token = self.huawei.url();
        vendors.meizu.push = self.meizu.url();
        vendors.vivo.push = self.vivo.url();
        vendors.oppo.cn = self.oppo.url();
        vendors.oppo.intl = self.oppo.url();
        self.ca.0.clone_into(&mut vendors.extra_ca_file);
    }

    /// Tells a vendor of an account; answers the certificate to store. They are strict: what is not told here is refused.
    /// `number` tells the accounts of the demo apart, `topics` are those of all iOS apps.
    pub(super) fn account(&self, vendor: VendorKind, package: &str, number: u64, topics: &[&str]) -> Value {
        let secret = hex_digest(format!("{vendor} {package}").as_bytes());
        let name = format!("{package} ({vendor})");
        let common = json!({"vendor": vendor, "name": name, "package_name": package});
        let own = match vendor {
            VendorKind::Apns => return self.apns_account(topics, package, &name),
            VendorKind::Xiaomi => {
                self.xiaomi.put_app(XiaomiApp { channel_required: true, ..XiaomiApp::new(&secret, package) });
                for (id, class, daily_quota) in [
                    (CHAT_CHANNEL, ChannelClass::Private, None),
                    (NEWS_CHANNEL, ChannelClass::Public, Some(NEWS_QUOTA)),
                ] {
                    let package = package.to_owned();
                    self.xiaomi.add_channel(XiaomiChannel { package, id: id.into(), class, daily_quota });
                }
                let app_id = (2_882_303_761_500_000_000 + number).to_string();
                json!({"app_id": app_id, "app_secret": secret, "defaults": {"channel_id": CHAT_CHANNEL}})
            }
            VendorKind::Huawei => {
                let app_id = (100_123_000 + number).to_string();
                self.huawei.put_app(HuaweiApp::new(&app_id, &secret));
                json!({"app_id": app_id, "app_secret": secret})
            }
            VendorKind::Meizu => {
                let app_id = (100_900 + number).to_string();
                self.meizu.put_app(MeizuApp::new(&app_id, &secret));
                json!({"app_id": app_id, "app_secret": secret})
            }
            VendorKind::Vivo => {
                let app_id = 100_215_000 + number;
                let app_key = format!("demo-key-{number}");
                self.vivo.put_app(VivoApp::new(app_id, &app_key, &secret));
                json!({"app_id": app_id.to_string(), "app_key": app_key, "app_secret": secret})
            }
            _ => {
                let app_key = format!("demo-key-{number}");
                self.oppo.put_app(OppoApp::new(&app_key, &secret));
                json!({"app_key": app_key, "master_secret": secret, "defaults": {"category": "IM"}})
            }
        };
        joined(common, own)
    }

    /// All topics belong to one team with one key.
    fn apns_account(&self, topics: &[&str], topic: &str, name: &str) -> Value {
        let topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
        self.apns.put_team(ApnsTeam { id: TEAM.to_owned(), topics });
        json!({
            "vendor": "apns", "name": name, "topic": topic, "environment": "production",
            "key_p8": self.key.p8_pem(), "key_id": KEY, "team_id": TEAM,
        })
    }

    /// The vendor treats this token in its own way. OPPO takes messages for apps that are gone, so its dead tokens are ids
    /// that it calls malformed.
    pub(super) fn mark_token(&self, vendor: VendorKind, token: &str, state: TokenState) {
        let state = match (vendor, state) {
            (VendorKind::Oppo, TokenState::Dead) => TokenState::Expired,
            (_, state) => state,
        };
        for (_, controls) in self.all().into_iter().filter(|(kind, _)| *kind == vendor) {
            controls.mark_token(token, state);
        }
    }

    /// What a phone received, oldest first. Tokens of two vendors are never the same.
    pub(super) fn inbox(&self, token: &str) -> Vec<Received> {
        let mut inboxes = self.all().into_iter().map(|(_, controls)| controls.inbox(token));
        inboxes.find(|inbox| !inbox.is_empty()).unwrap_or_default()
    }

    /// Whether a vendor gave out, or took, this message id.
    pub(super) fn has_message_id(&self, id: &str) -> bool {
        self.xiaomi.has_message_id(id)
            || self.apns.apns_id_count(id) > 0
            || self.huawei.has_message_id(id)
            || self.meizu.has_message_id(id)
            || self.vivo.has_message_id(id)
            || self.oppo.has_message_id(id)
    }

    /// Pushes received by all phones.
    pub(super) fn received_total(&self) -> u64 {
        self.all().into_iter().map(|(_, controls)| controls.received_total()).sum()
    }

    /// What each vendor did so far.
    pub(super) fn activity(&self) -> Vec<Activity> {
        let of = |(vendor, controls): (VendorKind, &Controls)| {
            let counts = controls.endpoints();
            Activity {
                vendor,
                received: controls.received_total(),
                calls: counts.values().map(|counts| counts.requests).sum(),
                refused: counts.values().flat_map(|counts| counts.refused.values()).sum(),
                failed_on_purpose: counts.values().map(|counts| counts.faults).sum(),
                latency: latency_of(vendor),
            }
        };
        self.all().into_iter().map(of).collect()
    }

    /// The inboxes of each vendor together, for phones with these tokens.
    pub(super) fn inboxes(&self, tokens: &[String]) -> BTreeMap<String, Inbox> {
        let of = |(vendor, controls): (VendorKind, &Controls)| {
            let counts = controls.inbox_counts();
            let with_mail = tokens.iter().filter(|token| !controls.inbox(token).is_empty()).count();
            let inbox = Inbox { received: counts.received, tokens: with_mail as u64, duplicates: counts.duplicates };
            (vendor.as_str().to_owned(), inbox)
        };
        self.all().into_iter().map(of).collect()
    }

    /// The next call of each goes wrong.
    pub(super) fn fault(&self, fault: &Fault) {
        for (_, controls) in self.all() {
            controls.fault(fault.clone());
        }
    }

    /// Ends all faults and answers at once.
    pub(super) fn clear_faults(&self) {
        for (_, controls) in self.all() {
            controls.clear_faults();
        }
    }

    /// Ends them.
    pub(super) async fn stop(&self) {
        self.xiaomi.stop().await;
        self.apns.stop().await;
        self.huawei.stop().await;
        self.meizu.stop().await;
        self.vivo.stop().await;
        self.oppo.stop().await;
    }
}

/// One object of two.
fn joined(mut object: Value, more: Value) -> Value {
    if let (Value::Object(object), Value::Object(more)) = (&mut object, more) {
        object.extend(more);
    }
    object
}
