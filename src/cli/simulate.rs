//! `rouse simulate`: stand-in vendor servers for trying Rouse, or an app's server, without any vendor account.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;

use crate::simulator::{Latency, StartError, XiaomiApp, XiaomiSimulator, XiaomiWorld};

/// Options of `rouse simulate`.
#[derive(Debug, Clone, Args)]
pub(super) struct SimulateArgs {
    /// Where the first stand-in listens; loopback only. Port 0 takes any free port
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7300")]
    pub listen: SocketAddr,
    /// An app the vendor knows: its `AppSecret` and its package. May be given several times; without any, and with
    /// --lenient, every app is known
    #[arg(long = "app", value_name = "SECRET=PACKAGE", value_parser = parse_app)]
    pub apps: Vec<App>,
    /// Take any secret, package, channel and template; everything else is checked as usual
    #[arg(long)]
    pub lenient: bool,
    /// Delay every answer by this many milliseconds
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub latency_ms: u64,
    /// Post receipts this many milliseconds after a send; they go to loopback addresses only
    #[arg(long, value_name = "MS", default_value_t = 1_000)]
    pub receipt_delay_ms: u64,
    /// Count notifications and keep none, for load tests
    #[arg(long)]
    pub counters_only: bool,
}

/// One known app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct App {
    /// The `AppSecret`.
    pub secret: String,
    /// The Android package.
    pub package: String,
}

/// Why `rouse simulate` ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum SimulateError {
    /// A stand-in did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The addresses could not be printed.
    #[error("cannot write to standard output")]
    Output(#[source] io::Error),
    /// The signals that end the command cannot be watched.
    #[error("cannot wait for a signal")]
    Signal(#[source] io::Error),
}

/// Runs the stand-ins until Ctrl-C or SIGTERM. Prints one line per vendor: its name and the setting that points Rouse at
/// it.
///
/// # Errors
/// [`SimulateError`]: a port is taken or not on loopback, standard output is closed, signals cannot be watched.
pub(super) async fn run(args: SimulateArgs) -> Result<(), SimulateError> {
    let xiaomi = XiaomiSimulator::start(args.listen, world(&args)).await?;
    print(&mut io::stdout().lock(), &[("xiaomi", "ROUSE_VENDORS__XIAOMI__CN", xiaomi.url())])
        .map_err(SimulateError::Output)?;
    end_signal().await.map_err(SimulateError::Signal)?;
    xiaomi.stop().await;
    Ok(())
}

fn world(args: &SimulateArgs) -> XiaomiWorld {
    XiaomiWorld {
        lenient: args.lenient || args.apps.is_empty(),
        counters_only: args.counters_only,
        receipt_delay: Duration::from_millis(args.receipt_delay_ms),
        latency: Latency::fixed(args.latency_ms),
        apps: apps(&args.apps),
        ..XiaomiWorld::default()
    }
}

/// One account per secret, with all its packages.
fn apps(given: &[App]) -> Vec<XiaomiApp> {
    let mut apps: Vec<XiaomiApp> = Vec::new();
    for app in given {
        match apps.iter_mut().find(|known| known.secret == app.secret) {
            Some(known) => known.packages.push(app.package.clone()),
            None => apps.push(XiaomiApp::new(&app.secret, &app.package)),
        }
    }
    apps
}

fn print(out: &mut impl Write, vendors: &[(&str, &str, String)]) -> io::Result<()> {
    for (vendor, setting, url) in vendors {
        writeln!(out, "{vendor}  {setting}={url}")?;
    }
    out.flush()
}

/// Secrets may hold `=`, packages cannot, so the last one divides.
fn parse_app(text: &str) -> Result<App, String> {
    match text.rsplit_once('=') {
        Some((secret, package)) if !secret.is_empty() && !package.is_empty() => {
            Ok(App { secret: secret.to_owned(), package: package.to_owned() })
        }
        _ => Err("expected SECRET=PACKAGE".to_owned()),
    }
}

#[cfg(unix)]
async fn end_signal() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => pressed,
        _ = terminate.recv() => Ok(()),
    }
}

#[cfg(not(unix))]
async fn end_signal() -> io::Result<()> {
    tokio::signal::ctrl_c().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: SimulateArgs,
    }

    fn parse(args: &[&str]) -> Result<SimulateArgs, clap::Error> {
        Command::try_parse_from([&["simulate"], args].concat()).map(|command| command.args)
    }

    #[test]
    fn without_an_app_every_app_is_known() {
        let args = parse(&[]).unwrap();
        assert_eq!(args.listen, "127.0.0.1:7300".parse().unwrap());
        assert!(world(&args).lenient);
        assert!(!world(&parse(&["--app", "s=p"]).unwrap()).lenient);
        assert!(world(&parse(&["--app", "s=p", "--lenient"]).unwrap()).lenient);
    }

    #[test]
    fn an_app_is_divided_at_the_last_equals_sign_and_packages_of_one_secret_are_joined() {
        let args = parse(&["--app", "sim-mi-secret===com.example.chat", "--app", "s=a", "--app", "s=b"]).unwrap();
        let known: Vec<_> = apps(&args.apps).into_iter().map(|app| (app.secret, app.packages)).collect();
        assert_eq!(known[0], ("sim-mi-secret==".to_owned(), vec!["com.example.chat".to_owned()]));
        assert_eq!(known[1], ("s".to_owned(), vec!["a".to_owned(), "b".to_owned()]));
        for wrong in ["secret", "=package", "secret="] {
            assert!(parse(&["--app", wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn each_vendor_is_one_line_with_its_setting() {
        let mut out = Vec::new();
        print(&mut out, &[("xiaomi", "ROUSE_VENDORS__XIAOMI__CN", "http://127.0.0.1:7300".to_owned())]).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "xiaomi  ROUSE_VENDORS__XIAOMI__CN=http://127.0.0.1:7300\n");
    }

    #[tokio::test]
    async fn an_address_of_the_outside_is_refused() {
        let error = run(parse(&["--listen", "0.0.0.0:0"]).unwrap()).await.unwrap_err();
        assert!(error.to_string().contains("loopback addresses only"), "{error}");
    }
}
