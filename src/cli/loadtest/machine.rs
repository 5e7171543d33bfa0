//! What a run ran on: figures of different machines are not comparable.

use std::fs;

use serde::Serialize;

use super::process::kib_mb;
use crate::clock::Clock;

/// The machine, the build and the day.
#[derive(Debug, Serialize)]
pub(super) struct Machine {
    pub(super) cores: usize,
    pub(super) cpu: Option<String>,
    pub(super) memory_mb: Option<f64>,
    pub(super) kernel: Option<String>,
    pub(super) postgres: String,
    pub(super) rouse: &'static str,
    /// `release`, or `debug`, whose figures say nothing.
    pub(super) build: &'static str,
    pub(super) date: String,
}

impl Machine {
    /// This machine, with this version of Postgres.
    pub(super) fn read(postgres: String, clock: &Clock) -> Self {
        let text = |path| fs::read_to_string(path).ok();
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            cpu: text("/proc/cpuinfo").as_deref().and_then(model),
            memory_mb: text("/proc/meminfo").and_then(|text| kib_mb(&text, "MemTotal:")).map(f64::round),
            kernel: text("/proc/sys/kernel/osrelease").map(|text| text.trim().to_owned()),
            postgres,
            rouse: env!("CARGO_PKG_VERSION"),
            build: if cfg!(debug_assertions) { "debug" } else { "release" },
            date: clock.now().format("%Y-%m-%d %H:%M UTC").to_string(),
        }
    }
}

fn model(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_has_a_name() {
        assert_eq!(model("processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\n").as_deref(), Some("Some CPU @ 2 GHz"));
        assert_eq!(model(""), None);
    }
}
