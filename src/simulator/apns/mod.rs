//! A stand-in for APNs, one environment of it.
//!
//! `POST /3/device/<token>` over HTTP/2 and TLS, checked by `docs/vendors/apns.md`, its section on simulators. What this
//! stand-in adds to it, because the vendor's answer is unknown: a payload that breaks a rule is 400 `InvalidPayload`;
//! `background` wants priority 5; a topic that does not fit the push type is `BadTopic`; `location` by certificate is
//! `Forbidden`; a JWT from the future, and another team on a connection, are `InvalidProviderToken`.

mod accounts;
mod answer;
mod authority;
mod fleet;
mod gate;
mod handle;
mod head;
mod jwt;
mod key;
mod payload;
mod send;
#[cfg(test)]
mod tests;
mod visit;
mod wire;
mod world;

pub use authority::{ApnsAuthority, ApnsCertificate, ApnsCertificateOrder};
pub use handle::ApnsSimulator;
pub use key::{ApnsCredentialError, ApnsKey};
pub use world::{ApnsEnvironment, ApnsTeam, ApnsWorld};
