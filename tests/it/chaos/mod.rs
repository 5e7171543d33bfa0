//! Several real processes on one database, and everything that may go wrong around them. The test process owns the
//! simulated vendors, so what phones received outlives every fault; it also plays the chat server, which sends a message
//! again until somebody accepted it. The checker compares the three: what was accepted, what phones got, what the trace
//! says.

mod checker;
mod clocks;
mod fleet;
mod link;
mod load;
mod outages;
mod postgres;
mod processes;
mod soak;
mod vendors;

/// Prints past the capture of the test harness: these figures are the point of a long run.
pub(crate) fn say(line: &str) {
    use std::io::Write as _;
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}
