//! The integration tests: the server as it is, a real Postgres, the simulators over real sockets. Each test has a database
//! of its own; `./dev test` brings the Postgres.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test helper that fails ends its test; figures are printed for people"
)]

mod world;

mod api;
mod bad_input;
mod certificates;
// mod dedupe;
mod hosts;
// mod kill;
// mod outcomes;
// mod plans;
mod process;
mod routing;
mod waiting;
