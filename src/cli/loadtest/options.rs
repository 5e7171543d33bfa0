//! What `rouse loadtest` can be asked for.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::mix::Mix;
use crate::cli::demo::parse_duration;
use crate::domain::app::AppSettings;

/// Options of `rouse loadtest`.
#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct LoadtestArgs {
    /// What is posted
    #[arg(long, value_name = "PROFILE", value_enum)]
    pub(super) profile: Profile,
    /// How long is measured, after a warm-up of 3 s, e.g. 60s, 30m or 8h
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration, default_value = "60s")]
    pub(super) run_for: Duration,
    /// Requests a second, whether they are answered or not; 8000 for paced and soak. Without it each connection posts when
    /// it was answered
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(super) rate: Option<u32>,
    /// Devices, of as many users
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(super) devices: u32,
    /// Deliveries that wait in the queue all the time, due in an hour or later
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=5_000_000))]
    pub(super) backlog: u32,
    /// Every second of them is due now, for a paused certificate
    #[arg(long, requires = "backlog")]
    pub(super) paused_backlog: bool,
    /// Another session keeps a snapshot of the database open all the time
    #[arg(long)]
    pub(super) held_snapshot: bool,
    /// Shares of the vendors among the devices; apns=1, for fanout huawei=1, if not given
    #[arg(long, value_name = "VENDOR=SHARE,...", value_parser = str::parse::<Mix>)]
    pub(super) mix: Option<Mix>,
    /// Client connections, HTTP/1.1 kept alive; 256 if not given, 32 for fifty, 16 for group, sessions and bindings, 4 for fanout
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4_096))]
    pub(super) connections: Option<u32>,
    /// How long each vendor takes for an answer, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub(super) vendor_latency_ms: u64,
    /// Settings of the app, for what counting pushes costs
    #[arg(long, value_name = "JSON", value_parser = parse_app_settings)]
    pub(super) app_settings: Option<serde_json::Value>,
    /// A setting of the server, such as vendors.apns.connections=1. May be given several times
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = parse_setting)]
    pub(super) settings: Vec<(String, String)>,
    /// How long the raw sender runs before, 0s not at all; 10s, or half of --for if that is less, if not given
    #[arg(long = "raw-for", value_name = "DURATION", value_parser = parse_pause)]
    pub(super) raw_for: Option<Duration>,
    /// Print a report to standard output in this form; a table if not given
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub(super) report: Option<ReportFormat>,
}

/// What is posted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Profile {
    /// Notifications to one killed user each, as fast as they are answered
    Single,
    /// Notifications to 50 killed users each
    Fifty,
    /// Notifications to 1,000 killed users each
    Fanout,
    /// Messages to groups of 500: 10 % killed, 5 % without a device, the rest online
    Group,
    /// Session events (login, background, disconnect), 100 a call
    Sessions,
    /// Changed tokens, 100 reports a call
    Bindings,
    /// As single, at a fixed rate: latencies
    Paced,
    /// As paced, for long: a line every ten seconds
    Soak,
}

/// How the report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ReportFormat {
    /// One JSON object
    Json,
}

/// What a profile measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Deliveries,
    Events,
}

impl Unit {
    /// As the report names it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Deliveries => "deliveries",
            Self::Events => "events",
        }
    }
}

impl Profile {
    /// What is counted.
    pub(super) const fn unit(self) -> Unit {
        match self {
            Self::Sessions | Self::Bindings => Unit::Events,
            _ => Unit::Deliveries,
        }
    }

    /// Users or events of one request.
    pub(super) const fn size(self) -> u32 {
        match self {
            Self::Single | Self::Paced | Self::Soak => 1,
            Self::Fifty => 50,
            Self::Fanout => 1_000,
            Self::Group => 500,
            Self::Sessions | Self::Bindings => 100,
        }
    }

    const fn connections(self) -> u32 {
        match self {
            Self::Single | Self::Paced | Self::Soak => 256,
            Self::Fifty => 32,
            Self::Group | Self::Sessions | Self::Bindings => 16,
            Self::Fanout => 4,
        }
    }

    /// The name on the command line.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Fifty => "fifty",
            Self::Fanout => "fanout",
            Self::Group => "group",
            Self::Sessions => "sessions",
            Self::Bindings => "bindings",
            Self::Paced => "paced",
            Self::Soak => "soak",
        }
    }
}

impl LoadtestArgs {
    /// Requests a second; `None`: as fast as they are answered.
    pub(super) fn pace(&self) -> Option<u32> {
        let default = matches!(self.profile, Profile::Paced | Profile::Soak).then_some(8_000);
        self.rate.or(default)
    }

    /// Client connections.
    pub(super) fn connection_count(&self) -> u32 {
        self.connections.unwrap_or(self.profile.connections())
    }

    /// Shares of the vendors.
    pub(super) fn shares(&self) -> Mix {
        let default = if self.profile == Profile::Fanout { Mix::HUAWEI } else { Mix::APNS };
        self.mix.clone().unwrap_or_else(|| Mix::only(default))
    }

    /// How long the raw sender runs; `None`: not at all.
    pub(super) fn raw_time(&self) -> Option<Duration> {
        let default = (self.run_for / 2).min(Duration::from_secs(10));
        let wanted = self.raw_for.unwrap_or(default);
        (!wanted.is_zero() && self.profile.unit() == Unit::Deliveries).then_some(wanted)
    }
}

/// A time that may be 0.
fn parse_pause(text: &str) -> Result<Duration, String> {
    if text == "0s" { Ok(Duration::ZERO) } else { parse_duration(text) }
}

fn parse_setting(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    let is_key =
        key.contains('.') && key.bytes().all(|byte| byte.is_ascii_lowercase() || b"._0123456789".contains(&byte));
    if is_key {
        Ok((key.to_owned(), value.to_owned()))
    } else {
        Err(format!("{key} is no setting; expected a key such as dispatch.lane_capacity"))
    }
}

fn parse_app_settings(text: &str) -> Result<serde_json::Value, String> {
    let settings: AppSettings = serde_json::from_str(text).map_err(|error| error.to_string())?;
    serde_json::to_value(settings).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: LoadtestArgs,
    }

    fn parse(args: &[&str]) -> Result<LoadtestArgs, clap::Error> {
        Command::try_parse_from([&["loadtest"], args].concat()).map(|command| command.args)
    }

    #[test]
    fn a_profile_is_all_that_is_needed() {
        let args = parse(&["--profile", "single"]).unwrap();
        assert_eq!((args.run_for.as_secs(), args.devices, args.backlog), (60, 10_000, 0));
        assert_eq!((args.pace(), args.connection_count(), args.shares().to_string()), (None, 256, "apns=1".to_owned()));
        assert_eq!(args.raw_time(), Some(Duration::from_secs(10)));
        assert_eq!(parse(&["--profile", "paced"]).unwrap().pace(), Some(8_000));
        let fanout = parse(&["--profile", "fanout", "--for", "4s"]).unwrap();
        assert_eq!((fanout.shares().to_string(), fanout.connection_count()), ("huawei=1".to_owned(), 4));
        assert_eq!(fanout.raw_time(), Some(Duration::from_secs(2)));
        assert_eq!(parse(&["--profile", "sessions"]).unwrap().raw_time(), None, "no vendor has a part in it");
        assert!(parse(&[]).is_err());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for wrong in [
            ["--profile", "double"],
            ["--for", "60"],
            ["--devices", "0"],
            ["--devices", "10000001"],
            ["--rate", "0"],
            ["--backlog", "5000001"],
            ["--mix", "apns"],
            ["--connections", "0"],
            ["--app-settings", r#"{"bursts":1}"#],
            ["--set", "lanes=1"],
            ["--set", "dispatch.lane_capacity"],
            ["--report", "xml"],
        ] {
            assert!(parse(&[&["--profile", "single"], &wrong[..]].concat()).is_err(), "{wrong:?}");
        }
        assert!(parse(&["--profile", "single", "--paused-backlog"]).is_err());
    }

    #[test]
    fn settings_of_the_server_and_the_app_are_taken() {
        let some =
            ["--profile", "single", "--set", "vendors.apns.connections=1", "--app-settings", r#"{"badge":"server"}"#];
        let args = parse(&[&some[..], &["--raw-for", "0s"]].concat()).unwrap();
        assert_eq!(args.settings, [("vendors.apns.connections".to_owned(), "1".to_owned())]);
        assert_eq!(args.app_settings.as_ref().unwrap()["badge"], "server");
        assert_eq!(args.raw_time(), None);
    }
}
