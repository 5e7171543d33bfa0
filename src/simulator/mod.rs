//! Stand-in vendor servers for tests, `rouse simulate` and `rouse demo`.
//!
//! Each vendor's stand-in reads raw headers, forms and JSON and checks them against the vendor's document as strictly as
//! the vendor would. Nothing here imports an adapter: one typing error would otherwise pass on both sides.
//!
//! What all vendors share lives in this folder: the server with its loopback rule ([`Simulator`]) and one for HTTP/2 over
//! TLS, misbehaviour on demand ([`FaultScript`]), what each device received ([`Inboxes`]), what was called ([`Ledger`])
//! and the control interface under `/_sim/`. A vendor adds one implementation of [`Wire`] and a handle for tests, such as
//! [`XiaomiSimulator`] and [`ApnsSimulator`], which is [`Controls`] with what is the vendor's own; `handle!` writes it
//! where nothing is special. Who treats all vendors alike has a list of them ([`start_fleet`]) and asks each as a
//! [`FleetMember`].
//!
//! What a vendor's rules are made of is shared too: forms and JSON with their types (`form`, `json`), what is counted and
//! recognised in texts (`text`), rates and days (`meter`), refusals and answers (`refusal`, `wire`), ids (`serial`), and
//! what is remembered of access tokens, requests and saved bodies (`access_tokens`, `seen`, `saved`). Codes, rules and
//! their order are the vendor's.

mod access_tokens;
mod ages;
mod apns;
mod bounded;
mod clock;
mod control;
mod controls;
mod exchange;
mod fault;
mod fleet;
mod form;
mod handle;
mod http1;
mod http2;
mod huawei;
mod inbox;
mod json;
mod ledger;
mod line;
mod meizu;
mod meter;
mod oppo;
mod refusal;
mod saved;
mod seen;
mod serial;
mod server;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod text;
mod vivo;
mod wire;
mod xiaomi;

pub use apns::{
    ApnsAuthority, ApnsCertificate, ApnsCertificateOrder, ApnsCredentialError, ApnsEnvironment, ApnsKey, ApnsSimulator,
    ApnsTeam, ApnsWorld,
};
pub use clock::{Now, system_clock};
pub use controls::{Controls, Standin};
pub use exchange::Shared;
pub use fault::{Fault, FaultScript, GoAway, Latency, Misbehaviour};
pub use fleet::{AccountError, Basics, FleetMember, Running, after, start_fleet};
pub use form::{Form, FormError};
pub use http2::{CapturedBytes, Connection, Direction};
pub use huawei::{HuaweiApp, HuaweiSimulator, HuaweiStatus, HuaweiWorld};
pub use inbox::{Hidden, InboxCounts, Inboxes, Message, Received, TokenState};
pub use ledger::{Call, EndpointCounts, Ledger};
pub use meizu::{MeizuApp, MeizuSimulator, MeizuWorld};
pub use oppo::{OppoApp, OppoSimulator, OppoWorld};
pub use server::{Simulator, StartError};
pub use vivo::{VivoApp, VivoSimulator, VivoWorld};
pub use wire::{Answer, Request, Wire};
pub use xiaomi::{ChannelClass, XiaomiApp, XiaomiChannel, XiaomiSimulator, XiaomiTemplate, XiaomiWorld};
