//! Integration tests: the server against a real Postgres and simulated vendors, over sockets. Each test has a database of
//! its own; `./dev test` provides the Postgres.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod apns;
mod bursts;
mod certificates;
mod chaos;
mod conformance;
mod costs;
mod counts;
mod dedupe;
mod demo;
mod docs;
mod edges;
mod examples;
mod explain;
mod faults;
mod hosts;
mod ingest;
mod loadtest;
mod offline_push_info;
mod openapi;
mod outcomes;
mod packaging;
mod partitions;
mod plans;
mod preferences;
mod program;
mod property;
mod rescues;
mod round_trips;
mod rules;
mod session_model;
mod tencent;
mod world;
