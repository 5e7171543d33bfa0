//! Stand-ins of all vendors, for whoever treats them alike: `rouse demo` and `rouse simulate`.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use super::apns::{ApnsCredentialError, ApnsSimulator};
use super::clock::{Now, system_clock};
use super::controls::Controls;
use super::fault::Latency;
use super::huawei::HuaweiSimulator;
use super::inbox::TokenState;
use super::meizu::MeizuSimulator;
use super::oppo::OppoSimulator;
use super::server::StartError;
use super::vivo::VivoSimulator;
use super::xiaomi::XiaomiSimulator;
use crate::secrets::hex_digest;

/// What is the same for the handles of all running stand-ins; `handle!` writes it.
#[async_trait]
pub trait Running: Send + Sync {
    /// What can be done to it while it runs.
    fn controls(&self) -> &Controls;

    /// Where it listens.
    fn url(&self) -> String;

    /// Whether it gave out, or took, this id for a message it accepted.
    fn has_message_id(&self, id: &str) -> bool;

    /// Ends it: open connections are reset, and the port is free again.
    async fn stop(&self);
}

/// A stand-in among those of all vendors: what each vendor says of its own.
pub trait FleetMember: Running {
    /// The vendor's name, as Rouse writes it.
    fn kind(&self) -> &'static str;

    /// Which hosts of Rouse's settings it stands in for, such as `xiaomi.cn`.
    fn settings(&self) -> Vec<String>;

    /// Makes an account for this package or bundle id known, and answers the certificate that Rouse wants for it, all but
    /// its name. Accounts of one vendor have different numbers, below 1,000. All should be open before the first message.
    ///
    /// # Errors
    /// [`AccountError`]: its secret could not be made.
    fn open_account(&self, package: &str, number: u64) -> Result<Value, AccountError>;

    /// How the token of an app that is gone is marked so that a message to it is refused.
    fn dead_state(&self) -> TokenState {
        TokenState::Dead
    }

    /// The CA certificate that Rouse must trust to reach it, as PEM.
    fn ca(&self) -> Option<&str> {
        None
    }
}

/// Why an account could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open an account at a simulated vendor")]
pub struct AccountError(#[from] ApnsCredentialError);

/// How a stand-in of any vendor starts. Its world has more, and is made from this.
#[derive(Clone)]
pub struct Basics {
    /// Any account is taken; everything else is checked as usual.
    pub lenient: bool,
    /// For load: counters in place of inboxes and calls.
    pub counters_only: bool,
    /// Added to every answer from the start.
    pub latency: Latency,
    /// The clock for everything.
    pub now: Now,
}

impl Default for Basics {
    /// Strict, on the wall clock.
    fn default() -> Self {
        Self { lenient: false, counters_only: false, latency: Latency::default(), now: system_clock() }
    }
}

/// `from_basics!(VendorWorld)` makes the world of a vendor from what all have.
macro_rules! from_basics {
    ($world:ty) => {
        impl From<$crate::simulator::Basics> for $world {
            fn from(basics: $crate::simulator::Basics) -> Self {
                let $crate::simulator::Basics { lenient, counters_only, latency, now } = basics;
                Self { lenient, counters_only, latency, now, ..Self::default() }
            }
        }
    };
}
pub(super) use from_basics;

/// Starts a stand-in of every vendor, the first at this address and the others on the ports after it; port 0 takes any
/// free ports. They know no account yet.
///
/// # Errors
/// [`StartError`]: not a loopback address, or a port is taken.
pub async fn start_fleet(listen: SocketAddr, basics: &Basics) -> Result<Vec<Arc<dyn FleetMember>>, StartError> {
    let at = |steps| after(listen, steps);
    let fleet: Vec<Arc<dyn FleetMember>> = vec![
        Arc::new(ApnsSimulator::start(at(0), basics.clone().into()).await?),
        Arc::new(XiaomiSimulator::start(at(1), basics.clone().into()).await?),
        Arc::new(HuaweiSimulator::start(at(2), basics.clone().into()).await?),
        Arc::new(MeizuSimulator::start(at(3), basics.clone().into()).await?),
        Arc::new(VivoSimulator::start(at(4), basics.clone().into()).await?),
        Arc::new(OppoSimulator::start(at(5), basics.clone().into()).await?),
    ];
    Ok(fleet)
}

/// A port a little after another one; any free one where the other is.
pub fn after(addr: SocketAddr, steps: u16) -> SocketAddr {
    let port = if addr.port() == 0 { 0 } else { addr.port().saturating_add(steps) };
    SocketAddr::new(addr.ip(), port)
}

/// The secret of an account: the same at every start.
pub(super) fn secret_of(kind: &str, package: &str) -> String {
    hex_digest(format!("{kind} {package}").as_bytes())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::simulator::testing::any_port;

    #[tokio::test]
    async fn every_member_has_a_name_of_its_own_and_settings_and_accounts_under_it() {
        let fleet = start_fleet(any_port(), &Basics::default()).await.unwrap();
        let kinds: HashSet<_> = fleet.iter().map(|member| member.kind()).collect();
        assert_eq!(kinds.len(), fleet.len());
        for member in fleet {
            let kind = member.kind();
            let settings = member.settings();
            assert!(settings.iter().all(|key| key.starts_with(&format!("{kind}."))), "{settings:?}");
            assert!(!settings.is_empty(), "{kind}");
            let bodies = [1, 2].map(|number| member.open_account(&format!("com.example.{number}"), number).unwrap());
            assert_eq!((&bodies[0]["vendor"], &bodies[1]["vendor"]), (&kind.into(), &kind.into()));
            assert_ne!(bodies[0], bodies[1], "{kind}");
            member.stop().await;
        }
    }

    #[test]
    fn they_listen_next_to_each_other() {
        let addr = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert_eq!(after(addr("127.0.0.1:7300"), 2), addr("127.0.0.1:7302"));
        assert_eq!(after(addr("[::1]:0"), 1), addr("[::1]:0"));
    }
}
