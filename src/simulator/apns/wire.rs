//! APNs behind the shared server.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use axum::http::Extensions;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Builder;

use super::accounts::Accounts;
use super::answer::{self, Refusal};
use super::authority::ApnsAuthority;
use super::head::is_apns_id;
use super::jwt::Verified;
use super::key::{ApnsCredentialError, ApnsKey};
use super::send;
use super::visit::Visit;
use super::world::{ApnsEnvironment, ApnsTeam, ApnsWorld};
use crate::simulator::control::read;
use crate::simulator::exchange::Shared;
use crate::simulator::fault::GoAway;
use crate::simulator::http2::{Connection, Floor};
use crate::simulator::wire::{Answer, Request, Wire};

/// How many tokens are counted at a time for their rate.
const MAX_RATES: usize = 100_000;

/// One stand-in for one environment's host.
#[expect(clippy::struct_excessive_bools, reason = "independent switches, as in the world")]
pub(super) struct Apns {
    pub(super) shared: Arc<Shared>,
    pub(super) floor: Arc<Floor>,
    pub(super) authority: ApnsAuthority,
    pub(super) environment: ApnsEnvironment,
    pub(super) takes_loose_jwt: bool,
    pub(super) tokens_must_be_known: bool,
    pub(super) clock_tolerance_s: i64,
    pub(super) verified: Verified,
    limits_first_stream: bool,
    slows_after_errors: bool,
    per_token_rate: Option<u32>,
    streams: AtomicU32,
    accounts: Mutex<Accounts>,
    visits: Mutex<Vec<Weak<Visit>>>,
    /// By token: the second, and how many pushes it had.
    rates: Mutex<HashMap<String, (i64, u32)>>,
}

impl Apns {
    pub(super) fn new(world: ApnsWorld) -> Result<Self, ApnsCredentialError> {
        let mut accounts = Accounts::new(world.lenient);
        world.teams.into_iter().for_each(|team| accounts.put_team(team));
        world.keys.into_iter().for_each(|key| accounts.put_key(key));
        Ok(Self {
            shared: Arc::new(Shared::new(world.now, world.counters_only, world.latency)),
            floor: Arc::new(Floor::new(world.capture_bytes)),
            authority: world.authority.map_or_else(ApnsAuthority::generate, Ok)?,
            environment: world.environment,
            takes_loose_jwt: world.takes_loose_jwt,
            tokens_must_be_known: world.tokens_must_be_known,
            clock_tolerance_s: i64::try_from(world.clock_tolerance.as_secs()).unwrap_or(i64::MAX),
            verified: Verified::default(),
            limits_first_stream: world.limits_first_stream,
            slows_after_errors: world.slows_after_errors,
            per_token_rate: world.per_token_rate,
            streams: AtomicU32::new(world.streams),
            accounts: Mutex::new(accounts),
            visits: Mutex::default(),
            rates: Mutex::default(),
        })
    }

    pub(super) fn accounts(&self) -> MutexGuard<'_, Accounts> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn put_key(&self, key: ApnsKey) {
        self.accounts().put_key(key);
        self.verified.forget();
    }

    /// Sets the stream limit of connections that nothing holds down, open ones too.
    pub(super) fn set_streams(&self, streams: u32) {
        self.streams.store(streams, Ordering::Release);
        let visits: Vec<_> = self.visits().iter().filter_map(Weak::upgrade).collect();
        for visit in visits {
            visit.limit(streams);
        }
    }

    /// Counts a push to a device, unless it is one too many within a second.
    pub(super) fn take_rate(&self, device: &str, at_ms: i64) -> Result<(), Refusal> {
        let Some(limit) = self.per_token_rate else { return Ok(()) };
        let second = at_ms.div_euclid(1_000);
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        if rates.len() >= MAX_RATES {
            rates.retain(|_, rate| rate.0 == second);
        }
        let rate = rates.entry(device.to_owned()).or_default();
        if rate.0 != second {
            *rate = (second, 0);
        }
        if rate.1 >= limit {
            return Err(Refusal::new("TooManyRequests", "too many pushes to one token"));
        }
        rate.1 += 1;
        Ok(())
    }

    fn visits(&self) -> MutexGuard<'_, Vec<Weak<Visit>>> {
        self.visits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The client's id where it is well formed, else a new one.
fn apns_id(request: &Request) -> String {
    request.header("apns-id").filter(|id| is_apns_id(id)).map_or_else(new_id, ToOwned::to_owned)
}

fn new_id() -> String {
    Builder::from_random_bytes(rand::random()).into_uuid().to_string()
}

impl Wire for Apns {
    fn kind(&self) -> &'static str {
        "apns"
    }

    fn endpoint(&self, path: &str) -> &'static str {
        if path.starts_with(send::PATH) { "/3/device" } else { "other" }
    }

    fn answer(&self, request: &Request) -> Answer {
        let apns_id = apns_id(request);
        let answer = match send::send(self, request, &apns_id) {
            Ok(warnings) => {
                let unique_id = (self.environment == ApnsEnvironment::Sandbox).then(new_id);
                answer::success(apns_id, unique_id, warnings)
            }
            Err(refusal) => answer::refused(apns_id, &refusal),
        };
        if let Some(visit) = request.memory.get::<Arc<Visit>>() {
            visit.answered(&answer, self.slows_after_errors);
            visit.limit(self.streams.load(Ordering::Acquire));
        }
        answer
    }

    fn refuse(&self, request: &Request, code: &str, reason: Option<&str>) -> Answer {
        let since = || {
            let token = self.tokens(request).into_iter().next()?;
            self.shared.inboxes.mark_of(&token)?.since_ms
        };
        // A reason of its own takes the place of the code, which then is the status: `("503", "Shutdown")`.
        let reason = reason.map_or_else(|| code.to_owned(), |reason| format!("{code} {reason}"));
        answer::failure(apns_id(request), &reason, Some(since().unwrap_or(request.at_ms)))
    }

    fn tokens(&self, request: &Request) -> Vec<String> {
        request.path.strip_prefix(send::PATH).map(str::to_ascii_lowercase).into_iter().collect()
    }

    fn greet(&self, connection: &Arc<Connection>) -> Extensions {
        let is_trusted = connection.peer_certificate().is_some() || !self.limits_first_stream;
        let visit = Arc::new(Visit::new(connection, is_trusted));
        visit.limit(self.streams.load(Ordering::Acquire));
        let mut visits = self.visits();
        if visits.len() == visits.capacity() {
            visits.retain(|visit| visit.strong_count() > 0);
        }
        visits.push(Arc::downgrade(&visit));
        drop(visits);
        let mut memory = Extensions::new();
        memory.insert(visit);
        memory
    }

    fn teach(&self, thing: &str, body: &[u8]) -> Option<Result<(), String>> {
        Some(match thing {
            "teams" => read(body).map(|team: ApnsTeam| self.accounts().put_team(team)),
            "keys" => read(body).and_then(|key: TaughtKey| self.teach_key(key)),
            "connections" => read(body).map(|rule: ConnectionRule| self.rule(&rule)),
            _ => return None,
        })
    }

    fn state(&self) -> Value {
        let (teams, keys) = self.accounts().sizes();
        json!({
            "environment": self.environment,
            "teams": teams,
            "keys": keys,
            "streams": self.streams.load(Ordering::Acquire),
            "connections": { "opened": self.floor.opened(), "open": self.floor.open() },
            "excess_streams": self.floor.excess_streams(),
            "priority_frames": self.floor.priority_frames(),
        })
    }
}

/// `POST /_sim/keys`: a key by its file, or a known key revoked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TaughtKey {
    id: String,
    team: Option<String>,
    p8: Option<String>,
    environment: Option<ApnsEnvironment>,
    #[serde(default)]
    topics: Vec<String>,
    #[serde(default)]
    revoked: bool,
}

/// `POST /_sim/connections`: what happens to connections, open ones and later ones.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConnectionRule {
    /// The stream limit.
    streams: Option<u32>,
    /// After how many requests each one goes away; 0: none does by itself.
    leave_after: Option<u64>,
    /// The reason in the debug data of that GOAWAY.
    #[serde(default)]
    reason: Option<String>,
    /// Tears all open ones down.
    #[serde(default)]
    reset: bool,
}

impl Apns {
    fn teach_key(&self, taught: TaughtKey) -> Result<(), String> {
        if let (Some(team), Some(p8)) = (&taught.team, &taught.p8) {
            let mut key = ApnsKey::from_p8(&taught.id, team, p8).map_err(|error| error.to_string())?;
            key.environment = taught.environment;
            self.put_key(key.for_topics(taught.topics));
        } else if !taught.revoked {
            return Err("give team and p8, or revoked".to_owned());
        }
        if taught.revoked && !self.accounts().revoke_key(&taught.id) {
            return Err("this key is not known".to_owned());
        }
        Ok(())
    }

    fn rule(&self, rule: &ConnectionRule) {
        if let Some(streams) = rule.streams {
            self.set_streams(streams);
        }
        if let Some(requests) = rule.leave_after {
            self.leave_after(requests, rule.reason.as_deref());
        }
        if rule.reset {
            self.floor.reset_all();
        }
    }

    /// Each connection goes away in order after so many requests; 0: none does by itself.
    pub(super) fn leave_after(&self, requests: u64, reason: Option<&str>) {
        let debug = reason.map(|reason| GoAway::unprocessed(reason).debug).unwrap_or_default();
        let how = GoAway { debug, ..GoAway::default() };
        self.floor.leave_after((requests > 0).then_some((requests, how)));
    }
}
