//! The handle of a running stand-in, for tests and commands.

use std::net::SocketAddr;
use std::ops::Deref;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::authority::{ApnsAuthority, ApnsCertificate};
use super::key::ApnsKey;
use super::wire::Apns;
use super::world::{ApnsEnvironment, ApnsTeam, ApnsWorld};
use crate::simulator::controls::Controls;
use crate::simulator::exchange::Desk;
use crate::simulator::fault::GoAway;
use crate::simulator::http2::{CapturedBytes, Http2Server};
use crate::simulator::inbox::{Received, TokenState};
use crate::simulator::ledger::EndpointCounts;
use crate::simulator::server::StartError;

/// The handle of a running stand-in. Clones share it; it ends with [`stop`](Self::stop) or with the last clone.
#[derive(Clone)]
pub struct ApnsSimulator {
    server: Arc<Server>,
    apns: Arc<Apns>,
    controls: Controls,
}

struct Server {
    addr: SocketAddr,
    scheme: &'static str,
    running: Mutex<Option<Http2Server>>,
}

impl Deref for ApnsSimulator {
    type Target = Controls;

    fn deref(&self) -> &Controls {
        &self.controls
    }
}

impl ApnsSimulator {
    /// Starts on a loopback address; port 0 takes any free port.
    ///
    /// # Errors
    /// [`StartError`]: not a loopback address, the port is taken, or no certificate could be made.
    pub async fn start(addr: SocketAddr, world: ApnsWorld) -> Result<Self, StartError> {
        let scheme = if world.cleartext { "http" } else { "https" };
        let apns = Arc::new(Apns::new(world).map_err(|error| StartError::Tls(error.to_string()))?);
        let server = listen(addr, scheme, &apns).await?;
        let server = Server { addr: server.addr(), scheme, running: Mutex::new(Some(server)) };
        let controls = Controls(Arc::clone(&apns.shared));
        Ok(Self { server: Arc::new(server), apns, controls })
    }

    /// Where it listens, such as `https://127.0.0.1:7301`: the value of Rouse's setting `vendors.apns.production` or
    /// `vendors.apns.sandbox`.
    pub fn url(&self) -> String {
        format!("{}://{}", self.server.scheme, self.server.addr)
    }

    /// Where it listens, also when it was asked for port 0.
    pub fn addr(&self) -> SocketAddr {
        self.server.addr
    }

    /// The CA certificate that a client must trust, as PEM.
    pub fn ca_pem(&self) -> &str {
        self.apns.authority.ca_pem()
    }

    /// Writes the CA certificate to a file: the value of Rouse's setting `vendors.extra_ca_file`.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write_ca(&self, path: &Path) -> std::io::Result<()> {
        self.apns.authority.write_ca(path)
    }

    /// Who signed its certificate, and issues client certificates that it takes.
    pub fn authority(&self) -> ApnsAuthority {
        self.apns.authority.clone()
    }

    /// Ends it: open connections are reset, and the port is free again.
    pub async fn stop(&self) {
        let running = self.take();
        if let Some(running) = running {
            running.stop().await;
        }
    }

    /// Starts it again on its port after [`stop`](Self::stop), with the same CA, accounts, faults and inboxes.
    ///
    /// # Errors
    /// [`StartError`]: the port was taken meanwhile.
    pub async fn restart(&self) -> Result<(), StartError> {
        self.stop().await;
        let server = listen(self.server.addr, self.server.scheme, &self.apns).await?;
        *self.server.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(server);
        Ok(())
    }

    fn take(&self) -> Option<Http2Server> {
        self.server.running.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Makes a team known, or adds topics to a known one. A connection that already spoke for the team does not learn of
    /// new topics.
    pub fn put_team(&self, team: ApnsTeam) {
        self.apns.accounts().put_team(team);
    }

    /// Which host it stands in for.
    pub fn environment(&self) -> ApnsEnvironment {
        self.apns.environment
    }

    /// A key that it knows, as it became known.
    pub fn key(&self, id: &str) -> Option<ApnsKey> {
        self.apns.accounts().key(id)
    }

    /// Makes a key known, in place of one with the same Key ID.
    pub fn put_key(&self, key: ApnsKey) {
        self.apns.put_key(key);
    }

    /// From now on tokens of this key are `InvalidProviderToken`.
    pub fn revoke_key(&self, id: &str) {
        self.apns.accounts().revoke_key(id);
    }

    /// From now on this client certificate is `BadCertificate`.
    pub fn revoke_certificate(&self, certificate: &ApnsCertificate) {
        self.apns.authority.revoke(certificate);
    }

    /// From now on a push to this token is 410 `Unregistered`, with the time of the push.
    pub fn kill_token(&self, token: &str) {
        self.mark_token(token, TokenState::Dead);
    }

    /// As [`kill_token`](Self::kill_token), with this time stamp in epoch milliseconds.
    pub fn kill_token_at(&self, token: &str, since_ms: i64) {
        self.apns.shared.inboxes.mark_since(&device(token), since_ms);
        self.kill_token(token);
    }

    /// From now on a push to this token is 410 `ExpiredToken`.
    pub fn expire_token(&self, token: &str) {
        self.mark_token(token, TokenState::Expired);
    }

    /// The token takes notifications again. A token that nothing else was said of is known from here on.
    pub fn revive_token(&self, token: &str) {
        self.mark_token(token, TokenState::Alive);
    }

    /// Sets a token's state: alive, dead, expired, dead and not yet noticed (accepted, never shown), notifications off.
    pub fn mark_token(&self, token: &str, state: TokenState) {
        self.apns.shared.inboxes.mark(&device(token), state);
    }

    /// Says which topic a token belongs to. For another one it is `DeviceTokenNotForTopic`.
    pub fn set_token_topic(&self, token: &str, topic: &str) {
        self.apns.shared.inboxes.set_app(&device(token), topic);
    }

    /// Says for which environment a token was issued. In the other one it is `BadDeviceToken`.
    pub fn set_token_environment(&self, token: &str, environment: ApnsEnvironment) {
        self.apns.shared.inboxes.set_region(&device(token), environment.name());
    }

    /// Sets the stream limit, on open connections too.
    pub fn set_stream_limit(&self, streams: u32) {
        self.apns.set_streams(streams);
    }

    /// Each connection goes away in order after so many requests, with this reason in the debug data; 0: none does by
    /// itself.
    pub fn leave_after(&self, requests: u64, reason: Option<&str>) {
        self.apns.leave_after(requests, reason);
    }

    /// All open connections go away now.
    pub fn go_away(&self, how: &GoAway) {
        self.apns.floor.go_away(how);
    }

    /// All open connections fall silent for ever, as behind a broken network: not even a PING is answered.
    pub fn freeze_connections(&self) {
        self.apns.floor.freeze_all();
    }

    /// All open connections are torn down with a TCP reset.
    pub fn reset_connections(&self) {
        self.apns.floor.reset_all();
    }

    /// Connections opened since the start.
    pub fn connections_opened(&self) -> u64 {
        self.apns.floor.opened()
    }

    /// Connections open now.
    pub fn connections_open(&self) -> usize {
        self.apns.floor.open()
    }

    /// Streams opened although the client had acknowledged a lower limit; each ended its connection.
    pub fn excess_streams(&self) -> u64 {
        self.apns.floor.excess_streams()
    }

    /// PRIORITY frames received; a sender sends none.
    pub fn priority_frames(&self) -> u64 {
        self.apns.floor.priority_frames()
    }

    /// The first bytes of its connections, inside TLS, as many as the world said.
    pub fn captured(&self) -> Vec<CapturedBytes> {
        self.apns.floor.captured()
    }

    /// The counters of pushes.
    pub fn pushes(&self) -> EndpointCounts {
        self.apns.shared.ledger.endpoints().remove("/3/device").unwrap_or_default()
    }

    /// What a device received, oldest first, at most the last 1,000. Empty in counters-only mode.
    pub fn inbox(&self, token: &str) -> Vec<Received> {
        self.apns.shared.inboxes.received(&device(token))
    }

    /// What a device's lock screen shows now.
    pub fn shown(&self, token: &str) -> Vec<Received> {
        self.apns.shared.inboxes.shown(&device(token))
    }

    /// How often a push was accepted under this `apns-id`; also in counters-only mode.
    pub fn apns_id_count(&self, apns_id: &str) -> u64 {
        self.apns.shared.inboxes.delivery_key_count(apns_id)
    }
}

async fn listen(addr: SocketAddr, scheme: &str, apns: &Arc<Apns>) -> Result<Http2Server, StartError> {
    let tls = if scheme == "https" {
        Some(apns.authority.server_config().map_err(|error| StartError::Tls(error.to_string()))?)
    } else {
        None
    };
    let desk = Arc::new(Desk { vendor: apns.clone(), shared: Arc::clone(&apns.shared) });
    Http2Server::start(addr, tls, desk, Arc::clone(&apns.floor)).await
}

/// Tokens are compared in lower case.
fn device(token: &str) -> String {
    token.to_ascii_lowercase()
}
