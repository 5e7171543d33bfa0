//! What tests and commands do with any vendor's stand-in while it runs.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;

use super::exchange::Shared;
use super::fault::{Fault, Latency, Misbehaviour};
use super::inbox::{InboxCounts, Received, TokenState};
use super::ledger::{Call, EndpointCounts};
use super::server::{Simulator, StartError};
use super::wire::Wire;

/// The controls of one stand-in. Clones share it.
#[derive(Clone)]
pub struct Controls(pub(super) Arc<Shared>);

impl Controls {
    /// From now on a send to this token is refused as the vendor refuses dead ones.
    pub fn kill_token(&self, token: &str) {
        self.mark_token(token, TokenState::Dead);
    }

    /// The token takes notifications again.
    pub fn revive_token(&self, token: &str) {
        self.mark_token(token, TokenState::Alive);
    }

    /// Sets a token's state.
    pub fn mark_token(&self, token: &str, state: TokenState) {
        self.0.inboxes.mark(token, state);
    }

    /// The next request is answered with this code of the document, and with the status or reason that goes with it.
    pub fn answer_next(&self, code: impl Display) {
        self.fault(Fault::once(Misbehaviour::Code { code: code.to_string().into(), reason: None }));
    }

    /// Adds a fault; a bare [`Misbehaviour`] holds until the faults are cleared.
    pub fn fault(&self, fault: impl Into<Fault>) {
        self.0.faults.add(fault.into());
    }

    /// Delays every answer.
    pub fn set_latency(&self, latency: Latency) {
        self.0.faults.set_latency(latency);
    }

    /// Ends all faults and the latency.
    pub fn clear_faults(&self) {
        self.0.faults.clear();
    }

    /// The last 10,000 requests with headers, body and answer, oldest first. Empty in counters-only mode.
    pub fn calls(&self) -> Vec<Call> {
        self.0.ledger.calls()
    }

    /// Requests read since the start.
    pub fn requests_total(&self) -> u64 {
        self.0.ledger.requests()
    }

    /// The counters of one endpoint, such as `/v3/message/regid`; `other` for paths the vendor does not have.
    pub fn endpoint(&self, path: &str) -> EndpointCounts {
        self.endpoints().remove(path).unwrap_or_default()
    }

    /// The counters of all endpoints, by name.
    pub fn endpoints(&self) -> BTreeMap<&'static str, EndpointCounts> {
        self.0.ledger.endpoints()
    }

    /// Which rules of the vendor's document were broken, and how often, by code and rule: `10017 title too long`.
    pub fn broken_rules(&self) -> BTreeMap<String, u64> {
        let mut rules = BTreeMap::new();
        for (rule, count) in self.endpoints().into_values().flat_map(|counts| counts.refused) {
            *rules.entry(rule).or_default() += count;
        }
        rules
    }

    /// What a device received, oldest first, at most the last 1,000. Empty in counters-only mode.
    pub fn inbox(&self, token: &str) -> Vec<Received> {
        self.0.inboxes.received(token)
    }

    /// What a device's lock screen shows now.
    pub fn shown(&self, token: &str) -> Vec<Received> {
        self.0.inboxes.shown(token)
    }

    /// Notifications received, all devices together.
    pub fn received_total(&self) -> u64 {
        self.inbox_counts().received
    }

    /// The counters over all devices, also in counters-only mode.
    pub fn inbox_counts(&self) -> InboxCounts {
        self.0.inboxes.counts()
    }

    /// How often the app's data was received, all devices together; also in counters-only mode. That is the member `ext`
    /// where there is one, else all of it as one text.
    pub fn payload_count(&self, payload: &str) -> u64 {
        self.0.inboxes.payload_count(payload)
    }

    /// How often a collapse key was received, all devices together; also in counters-only mode.
    pub fn notify_id_count(&self, notify_id: &str) -> u64 {
        self.0.inboxes.notify_id_count(notify_id)
    }
}

/// The handle of a running stand-in that speaks HTTP/1.1. It ends with [`stop`](Self::stop) or with the last clone.
#[derive(Clone)]
pub struct Standin {
    simulator: Arc<Simulator>,
    controls: Controls,
}

impl Standin {
    /// Listens on `addr` (port 0: any free port) and answers as `vendor` does.
    pub(super) async fn start(
        addr: SocketAddr,
        vendor: Arc<dyn Wire>,
        shared: &Arc<Shared>,
    ) -> Result<Self, StartError> {
        let simulator = Simulator::start(addr, vendor, Arc::clone(shared)).await?;
        Ok(Self { simulator: Arc::new(simulator), controls: Controls(Arc::clone(shared)) })
    }

    /// Where it listens, such as `http://127.0.0.1:7300`: the value of Rouse's setting for the vendor's host.
    pub fn url(&self) -> String {
        self.simulator.url()
    }

    /// Ends it: open connections are reset, and the port is free again.
    pub async fn stop(&self) {
        self.simulator.stop().await;
    }
}

impl Deref for Standin {
    type Target = Controls;

    fn deref(&self) -> &Controls {
        &self.controls
    }
}
