//! Plain types and rules of the product. No I/O, no clock, no database: everything here is a function of its arguments.

pub mod app;
pub mod burst;
pub mod certificate;
pub mod devices;
pub mod id;
pub mod kick;
pub mod notification;
pub mod offline_push_info;
pub mod preferences;
pub mod prune;
pub mod retry;
pub mod routing;
pub mod session;
pub mod skip;
pub mod tencent;
pub mod text;
