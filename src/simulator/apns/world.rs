//! What an APNs stand-in is told about its world: teams, keys, and how it behaves.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::authority::ApnsAuthority;
use super::key::ApnsKey;
use crate::simulator::clock::{Now, system_clock};
use crate::simulator::fault::Latency;

/// Which of the two hosts a stand-in is, or a credential is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApnsEnvironment {
    /// `api.push.apple.com`.
    #[default]
    Production,
    /// `api.sandbox.push.apple.com`, for development builds.
    Sandbox,
}

impl ApnsEnvironment {
    /// As the control interface writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Sandbox => "sandbox",
        }
    }
}

/// One developer team.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApnsTeam {
    /// The Team ID.
    pub id: String,
    /// Its bundle ids. None: they are not known here, and every topic is taken.
    #[serde(default)]
    pub topics: Vec<String>,
}

/// How a stand-in starts.
#[derive(Clone)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches, set by name")]
pub struct ApnsWorld {
    /// Which host it stands in for.
    pub environment: ApnsEnvironment,
    /// Any team, key and topic is taken. The signature of an unknown key cannot be checked, only its form is.
    pub lenient: bool,
    /// Whether a JWT in padded or standard base64, or with a DER signature, is taken: the vendor does, a good client needs
    /// none of it.
    pub takes_loose_jwt: bool,
    /// For load: counters in place of inboxes and calls.
    pub counters_only: bool,
    /// Whether a well-formed token that was never registered here is `BadDeviceToken`.
    pub tokens_must_be_known: bool,
    /// The stream limit of a connection.
    pub streams: u32,
    /// Whether a connection without a client certificate has a stream limit of 1 until its first valid JWT.
    pub limits_first_stream: bool,
    /// Whether an answer of 4xx other than 410 lowers the stream limit to 1 until the next accepted push.
    pub slows_after_errors: bool,
    /// Notifications a second to one token, above which it is `TooManyRequests`; `None`: no limit.
    pub per_token_rate: Option<u32>,
    /// How far in the future a JWT may be issued (a convention: the vendor's tolerance is unknown).
    pub clock_tolerance: Duration,
    /// Added to every answer from the start.
    pub latency: Latency,
    /// The teams known from the start. A key's team is known through the key.
    pub teams: Vec<ApnsTeam>,
    /// The keys known from the start.
    pub keys: Vec<ApnsKey>,
    /// How many bytes of its connections are kept, decrypted.
    pub capture_bytes: usize,
    /// Cleartext HTTP/2 for clients that know beforehand, in place of TLS.
    pub cleartext: bool,
    /// Who signs the server's certificate and issues client certificates; `None`: one of its own.
    pub authority: Option<ApnsAuthority>,
    /// The clock for JWTs, rates and time stamps.
    pub now: Now,
}

impl Default for ApnsWorld {
    /// Production, strict, empty, 1,000 streams, on the wall clock.
    fn default() -> Self {
        Self {
            environment: ApnsEnvironment::Production,
            lenient: false,
            takes_loose_jwt: false,
            counters_only: false,
            tokens_must_be_known: false,
            streams: 1_000,
            limits_first_stream: true,
            slows_after_errors: false,
            per_token_rate: None,
            clock_tolerance: Duration::from_mins(1),
            latency: Latency::default(),
            teams: Vec::new(),
            keys: Vec::new(),
            capture_bytes: 0,
            cleartext: false,
            authority: None,
            now: system_clock(),
        }
    }
}
