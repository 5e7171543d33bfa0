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
use crate::simulator::{
    ApnsKey, ApnsSimulator, ApnsTeam, ApnsWorld, ChannelClass, Fault, Latency, Received, TokenState, XiaomiApp,
    XiaomiChannel, XiaomiSimulator, XiaomiWorld,
};

/// The channel of chat messages, without a limit.
pub(super) const CHAT_CHANNEL: &str = "120001";
/// The channel of news, with a small daily quota.
pub(super) const NEWS_CHANNEL: &str = "120002";
/// How much news each package may send a day: few, so that the demo shows what happens then.
const NEWS_QUOTA: u64 = 8;
/// How slow the vendors are.
const XIAOMI_LATENCY: Latency = Latency { min_ms: 5, max_ms: 30 };
const APNS_LATENCY: Latency = Latency { min_ms: 20, max_ms: 60 };

const TEAM: &str = "DEMOTEAM01";
const KEY: &str = "DEMOKEY001";
const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// See the module. Clones share it.
#[derive(Clone)]
pub(super) struct Vendors {
    pub xiaomi: XiaomiSimulator,
    pub apns: ApnsSimulator,
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
}

impl Vendors {
    /// Starts them, with the server's clock, so that times between the two sides can be measured.
    pub(super) async fn start(clock: &Clock) -> Fallible<Self> {
        let now = || {
            let clock = clock.clone();
            Arc::new(move || clock.now().timestamp_millis())
        };
        let world = XiaomiWorld { latency: XIAOMI_LATENCY, now: now(), ..XiaomiWorld::default() };
        let xiaomi = XiaomiSimulator::start(LOOPBACK, world).await?;
        let key = ApnsKey::generate(KEY, TEAM)?;
        let world = ApnsWorld { latency: APNS_LATENCY, keys: vec![key.clone()], now: now(), ..ApnsWorld::default() };
        let apns = ApnsSimulator::start(LOOPBACK, world).await?;
        let path = std::env::temp_dir().join(format!("rouse-demo-{}-ca.pem", std::process::id()));
        apns.write_ca(&path)?;
        Ok(Self { xiaomi, apns, key, ca: Arc::new(CaFile(path)) })
    }

    /// No message of the demo leaves this machine, whatever is configured.
    pub(super) fn point_at(&self, settings: &mut Settings) {
        let hosts = &mut settings.vendors.xiaomi;
        for host in [&mut hosts.cn, &mut hosts.ru, &mut hosts.r#in, &mut hosts.eu, &mut hosts.sg] {
            *host = self.xiaomi.url();
        }
        settings.vendors.apns.production = self.apns.url();
        settings.vendors.apns.sandbox = self.apns.url();
        self.ca.0.clone_into(&mut settings.vendors.extra_ca_file);
    }

    /// Tells Xiaomi of an account; answers the certificate to store. It is strict: what is not told here is refused.
    pub(super) fn xiaomi_account(&self, package: &str, app_id: &str, secret: &str) -> Value {
        self.xiaomi.put_app(XiaomiApp { channel_required: true, ..XiaomiApp::new(secret, package) });
        for (id, class, daily_quota) in
            [(CHAT_CHANNEL, ChannelClass::Private, None), (NEWS_CHANNEL, ChannelClass::Public, Some(NEWS_QUOTA))]
        {
            self.xiaomi.add_channel(XiaomiChannel { package: package.into(), id: id.into(), class, daily_quota });
        }
        json!({
            "vendor": "xiaomi", "name": package, "package_name": package, "app_id": app_id, "app_secret": secret,
            "defaults": {"channel_id": CHAT_CHANNEL},
        })
    }

    /// The same for APNs: all topics belong to one team with one key.
    pub(super) fn apns_account(&self, topics: &[&str], topic: &str) -> Value {
        let topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
        self.apns.put_team(ApnsTeam { id: TEAM.to_owned(), topics });
        json!({
            "vendor": "apns", "name": format!("{topic} (iOS)"), "topic": topic, "environment": "production",
            "key_p8": self.key.p8_pem(), "key_id": KEY, "team_id": TEAM,
        })
    }

    /// The vendor treats this token in its own way.
    pub(super) fn mark_token(&self, vendor: VendorKind, token: &str, state: TokenState) {
        match vendor {
            VendorKind::Apns => self.apns.mark_token(token, state),
            _ => self.xiaomi.mark_token(token, state),
        }
    }

    /// What a phone received, oldest first. Tokens of the two look different.
    pub(super) fn inbox(&self, token: &str) -> Vec<Received> {
        let of_xiaomi = self.xiaomi.inbox(token);
        if of_xiaomi.is_empty() { self.apns.inbox(token) } else { of_xiaomi }
    }

    /// Whether a vendor gave out, or took, this message id.
    pub(super) fn has_message_id(&self, id: &str) -> bool {
        self.xiaomi.has_message_id(id) || self.apns.apns_id_count(id) > 0
    }

    /// Pushes received by all phones.
    pub(super) fn received_total(&self) -> u64 {
        self.xiaomi.received_total() + self.apns.received_total()
    }

    /// What each vendor did so far.
    pub(super) fn activity(&self) -> [Activity; 2] {
        let of = |vendor, received, counts: crate::simulator::EndpointCounts| Activity {
            vendor,
            received,
            calls: counts.requests,
            refused: counts.refused.values().sum(),
            failed_on_purpose: counts.faults,
        };
        [
            of(VendorKind::Apns, self.apns.received_total(), self.apns.pushes()),
            of(VendorKind::Xiaomi, self.xiaomi.received_total(), self.xiaomi.endpoint("/v3/message/regid")),
        ]
    }

    /// The inboxes of each vendor together, for phones with these tokens.
    pub(super) fn inboxes(&self, tokens: &[String]) -> BTreeMap<String, Inbox> {
        let with_mail = |inbox: &dyn Fn(&str) -> Vec<Received>| {
            tokens.iter().filter(|token| !inbox(token).is_empty()).count() as u64
        };
        let of = |counts: crate::simulator::InboxCounts, tokens| Inbox {
            received: counts.received,
            tokens,
            duplicates: counts.duplicates,
        };
        let apns = of(self.apns.inbox_counts(), with_mail(&|token| self.apns.inbox(token)));
        let xiaomi = of(self.xiaomi.inbox_counts(), with_mail(&|token| self.xiaomi.inbox(token)));
        BTreeMap::from([(VendorKind::Apns.as_str().to_owned(), apns), (VendorKind::Xiaomi.as_str().to_owned(), xiaomi)])
    }

    /// The next call of both goes wrong.
    pub(super) fn fault(&self, fault: &Fault) {
        self.xiaomi.fault(fault.clone());
        self.apns.fault(fault.clone());
    }

    /// Ends all faults.
    pub(super) fn clear_faults(&self) {
        self.xiaomi.clear_faults();
        self.apns.clear_faults();
    }

    /// Ends them.
    pub(super) async fn stop(&self) {
        self.xiaomi.stop().await;
        self.apns.stop().await;
    }
}
