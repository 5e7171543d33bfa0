//! Requests over HTTP/2 and TLS, by the `h2` crate, with what a vendor's front end does and no library offers: a stream
//! limit that changes, GOAWAY with debug data, streams that are refused, connections that break.
//!
//! Between TLS and `h2` sits a [`Tap`](tap::Tap) that knows where frames begin, so that it can put in frames of its own,
//! and keep what was said.

mod capture;
mod connection;
mod floor;
mod frame;
mod serve;
mod server;
mod tap;
mod tls;

pub use capture::{CapturedBytes, Direction};
pub(super) use connection::Admission;
pub use connection::Connection;
pub(super) use floor::Floor;
pub(super) use server::Http2Server;
pub(super) use tls::server_config;
