//! The demo's simulated vendors, as one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;

use super::report::Inbox;
use super::{DemoError, Fallible};
use crate::clock::Clock;
use crate::config::Settings;
use crate::domain::certificate::VendorKind;
use crate::simulator::{Basics, Fault, FleetMember, Latency, Received, Running, TokenState, start_fleet};

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
    members: Arc<[Member]>,
    ca: Arc<CaFile>,
}

struct Member {
    kind: VendorKind,
    standin: Arc<dyn FleetMember>,
}

/// The certificate authorities of those that speak TLS, in a file for as long as the demo runs.
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
    /// Starts them, with the server's clock, so that times between the two sides can be measured. They are strict: what
    /// they are not told of is refused.
    pub(super) async fn start(clock: &Clock) -> Fallible<Self> {
        let clock = clock.clone();
        let basics = Basics { now: Arc::new(move || clock.now().timestamp_millis()), ..Basics::default() };
        let mut members = Vec::new();
        for standin in start_fleet(LOOPBACK, &basics).await? {
            let name = standin.kind();
            let kind = VendorKind::parse(name).ok_or_else(|| format!("no vendor is called {name}"))?;
            standin.controls().set_latency(latency_of(kind));
            members.push(Member { kind, standin });
        }
        let authorities: String = members.iter().filter_map(|member| member.standin.ca()).collect();
        let path = std::env::temp_dir().join(format!("rouse-demo-{}-ca.pem", std::process::id()));
        std::fs::write(&path, authorities)?;
        Ok(Self { members: members.into(), ca: Arc::new(CaFile(path)) })
    }

    fn of(&self, vendor: VendorKind) -> Option<&dyn FleetMember> {
        self.members.iter().find(|member| member.kind == vendor).map(|member| &*member.standin)
    }

    /// Where each listens.
    pub(super) fn urls(&self) -> impl Iterator<Item = (VendorKind, String)> {
        self.members.iter().map(|member| (member.kind, member.standin.url()))
    }

    /// Where one listens.
    pub(super) fn url_of(&self, vendor: VendorKind) -> Option<String> {
        self.of(vendor).map(Running::url)
    }

    /// No message of the demo leaves this machine, whatever is configured.
    pub(super) fn point_at(&self, settings: &mut Settings) -> Fallible<()> {
        settings.vendors = settings.vendors.redirected(|name| self.url_of(VendorKind::parse(name)?))?;
        self.ca.0.clone_into(&mut settings.vendors.extra_ca_file);
        Ok(())
    }

    /// Opens an account with a vendor; answers the certificate to store. `number` tells the accounts of the demo apart.
    pub(super) fn account(&self, vendor: VendorKind, package: &str, number: u64) -> Result<Value, DemoError> {
        let standin = self.of(vendor).ok_or(DemoError::NoStandin { vendor })?;
        let mut certificate = standin.open_account(package, number)?;
        certificate["name"] = format!("{package} ({vendor})").into();
        Ok(certificate)
    }

    /// The vendor treats this token in its own way.
    pub(super) fn mark_token(&self, vendor: VendorKind, token: &str, state: TokenState) {
        if let Some(standin) = self.of(vendor) {
            let state = if state == TokenState::Dead { standin.dead_state() } else { state };
            standin.controls().mark_token(token, state);
        }
    }

    /// What a phone received, oldest first. Tokens of two vendors are never the same.
    pub(super) fn inbox(&self, token: &str) -> Vec<Received> {
        let mut inboxes = self.members.iter().map(|member| member.standin.controls().inbox(token));
        inboxes.find(|inbox| !inbox.is_empty()).unwrap_or_default()
    }

    /// Whether a vendor gave out, or took, this message id.
    pub(super) fn has_message_id(&self, id: &str) -> bool {
        self.members.iter().any(|member| member.standin.has_message_id(id))
    }

    /// Pushes received by all phones.
    pub(super) fn received_total(&self) -> u64 {
        self.members.iter().map(|member| member.standin.controls().received_total()).sum()
    }

    /// What each vendor did so far.
    pub(super) fn activity(&self) -> Vec<Activity> {
        let of = |member: &Member| {
            let controls = member.standin.controls();
            let counts = controls.endpoints();
            Activity {
                vendor: member.kind,
                received: controls.received_total(),
                calls: counts.values().map(|counts| counts.requests).sum(),
                refused: counts.values().flat_map(|counts| counts.refused.values()).sum(),
                failed_on_purpose: counts.values().map(|counts| counts.faults).sum(),
                latency: latency_of(member.kind),
            }
        };
        self.members.iter().map(of).collect()
    }

    /// The inboxes of each vendor together, for phones with these tokens.
    pub(super) fn inboxes(&self, tokens: &[String]) -> BTreeMap<String, Inbox> {
        let of = |member: &Member| {
            let controls = member.standin.controls();
            let counts = controls.inbox_counts();
            let with_mail = tokens.iter().filter(|token| !controls.inbox(token).is_empty()).count();
            let inbox = Inbox { received: counts.received, tokens: with_mail as u64, duplicates: counts.duplicates };
            (member.kind.as_str().to_owned(), inbox)
        };
        self.members.iter().map(of).collect()
    }

    /// The next call of each goes wrong.
    pub(super) fn fault(&self, fault: &Fault) {
        for member in self.members.iter() {
            member.standin.controls().fault(fault.clone());
        }
    }

    /// Ends all faults and answers at once.
    pub(super) fn clear_faults(&self) {
        for member in self.members.iter() {
            member.standin.controls().clear_faults();
        }
    }

    /// Ends them.
    pub(super) async fn stop(&self) {
        for member in self.members.iter() {
            member.standin.stop().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;

    #[tokio::test]
    async fn no_host_of_a_vendor_is_left_outside() {
        let vendors = Vendors::start(&Clock::from_wall()).await.unwrap();
        let mut settings = Settings::read(None, HashMap::new()).unwrap();
        vendors.point_at(&mut settings).unwrap();
        let urls: HashSet<_> = vendors.urls().map(|(_, url)| url).collect();
        let used: HashSet<_> = settings.vendors.hosts().unwrap().into_iter().map(|(_, url)| url).collect();
        assert_eq!(used, urls);
        let ca = std::fs::read_to_string(&settings.vendors.extra_ca_file).unwrap();
        assert_eq!(ca.matches("BEGIN CERTIFICATE").count(), 1);
        vendors.stop().await;
        drop(vendors);
        assert!(!settings.vendors.extra_ca_file.exists());
    }
}
