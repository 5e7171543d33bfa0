//! `rouse demo`: the server, simulators of all vendors, and a little world of apps, phones and messages.
//!
//! Started in this order, and stopped in the reverse one: Postgres, simulator, server, world, stream and view.

mod client;
mod report;
mod settle;
mod stream;
mod tally;
mod vendors;
mod view;
mod world;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use secrecy::{ExposeSecret, SecretString};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::run::Store;
use super::{Outcome, print, stop_signal};
use crate::clock::Clock;
use crate::config::{DEFAULT_FILTER, Log, Settings};
use crate::domain::certificate::VendorKind;
use crate::embedded::Mode;
use crate::secrets::new_master_key;
use crate::server::{Server, StartOptions, create_key};
use crate::simulator::AccountError;
use crate::store::api_keys::Scope;
use crate::vendor::http::HttpClientError;
use client::Client;
use report::Report;
use settle::Settler;
use stream::Stream;
use tally::Tally;
use vendors::Vendors;
use view::{View, say};
use world::World;

/// How long the end waits for calls in flight.
const STOP_DEADLINE_S: u64 = 5;
/// How long the end waits for retries that are due soon.
const LAST_RETRIES: Duration = Duration::from_secs(4);

/// Options of `rouse demo`.
#[derive(Debug, Clone, Args)]
pub(super) struct DemoArgs {
    /// End by itself after this long, e.g. 20s, 2m or 1h; without it, at Ctrl-C
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration)]
    pub run_for: Option<Duration>,
    /// Print a report to standard output at the end
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub report: Option<ReportFormat>,
    /// Messages a second
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rate: u32,
    /// Where the API listens; `server.listen` if not given. When the port is taken, any free one
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
}

/// How the report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ReportFormat {
    /// One JSON object
    Json,
}

/// What the demo can fail with.
#[derive(Debug, thiserror::Error)]
pub(super) enum DemoError {
    #[error("could not {what}: the server answered {status}: {detail}")]
    Refused { what: &'static str, status: u16, detail: String },
    #[error("the server answered {what}")]
    Answer { what: &'static str },
    #[error("no answer from the server: {0}")]
    Request(#[from] reqwest::Error),
    #[error(transparent)]
    Http(#[from] HttpClientError),
    #[error(transparent)]
    Account(#[from] AccountError),
    #[error("{vendor} is not simulated")]
    NoStandin { vendor: VendorKind },
    #[error("{lost} messages lost, {phantom} deliveries recorded that reached no phone")]
    Broken { lost: u64, phantom: u64 },
}

/// Keeps the view readable: warnings only, unless another filter was set.
pub(super) fn quieten(log: &mut Log) {
    if log.filter == DEFAULT_FILTER {
        "warn".clone_into(&mut log.filter);
    }
}

/// Runs the demo for the time given, or until Ctrl-C or SIGTERM.
pub(super) async fn run(settings: Settings, options: DemoArgs) -> Outcome {
    let stop = CancellationToken::new();
    let signal = tokio::spawn(cancel_at_signal(stop.clone()));
    say("Rouse demo: starting ...\n");
    let store = Store::open(&settings, Mode::Temporary).await?;
    let result = with_store(settings, &options, &store, &stop).await;
    let was_temporary = store.embedded.is_some();
    store.close().await;
    signal.abort();
    let report = result?;
    if options.report == Some(ReportFormat::Json) {
        print(&format!("{}\n", serde_json::to_string(&report)?))?;
    }
    say(&ending(&report, was_temporary));
    match (report.lost, report.phantom) {
        (0, 0) => Ok(()),
        (lost, phantom) => Err(DemoError::Broken { lost, phantom }.into()),
    }
}

async fn cancel_at_signal(stop: CancellationToken) {
    if let Err(error) = stop_signal().await {
        tracing::error!(%error, "cannot watch for Ctrl-C: stopping");
    }
    stop.cancel();
}

type Fallible<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

async fn with_store(
    mut settings: Settings,
    options: &DemoArgs,
    store: &Store,
    stop: &CancellationToken,
) -> Fallible<Report> {
    let clock = Clock::from_wall();
    let vendors = Vendors::start(&clock).await?;
    vendors.point_at(&mut settings)?;
    settings.server.listen = free_address(options.listen.unwrap_or(settings.server.listen));
    settings.server.stop_deadline_s = settings.server.stop_deadline_s.min(STOP_DEADLINE_S);
    let start = StartOptions {
        database_url: store.url.clone(),
        master_key: master_key(&settings)?,
        is_sole_user: store.embedded.is_some(),
        clock,
    };
    let result = match Server::start(&settings, start).await {
        Ok(server) => {
            let result = live(&server, &vendors, options, stop).await;
            server.stop().await;
            result
        }
        Err(error) => Err(error.into()),
    };
    vendors.stop().await;
    result
}

/// The address, or another port of it when that one is taken.
fn free_address(wanted: SocketAddr) -> SocketAddr {
    match TcpListener::bind(wanted) {
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            say(&format!("{wanted} is in use: taking a free port\n"));
            SocketAddr::new(wanted.ip(), 0)
        }
        _ => wanted, // any other trouble is the server's to tell
    }
}

/// The configured one with a database of your own, which may hold certificates already; else a fresh one.
fn master_key(settings: &Settings) -> Fallible<SecretString> {
    let configured = &settings.security.master_key;
    if !settings.is_embedded() && !configured.expose_secret().is_empty() {
        return Ok(configured.clone());
    }
    Ok(new_master_key()?)
}

/// Everything between the start of the server and its stop.
async fn live(server: &Server, vendors: &Vendors, options: &DemoArgs, stop: &CancellationToken) -> Fallible<Report> {
    let tally = Arc::new(Tally::new()?);
    let base_url = format!("http://{}", reachable(server.address()));
    let key = admin_key(server).await?;
    let admin = Client::new(base_url.clone(), key.expose_secret())?;
    let world = match stop.run_until_cancelled(world::build(&admin, vendors, server.clock())).await {
        Some(world) => Arc::new(world?),
        None => Arc::new(World { apps: Vec::new() }),
    };
    let began = Instant::now();
    let settler = Arc::new(Settler {
        database: server.database().clone(),
        vendors: vendors.clone(),
        world: Arc::clone(&world),
        tally: Arc::clone(&tally),
    });
    if !stop.is_cancelled() {
        say(&welcome(&world, &base_url, key.expose_secret(), vendors, options));
        let stop_view = CancellationToken::new();
        let background = TaskTracker::new();
        let follower = Arc::clone(&settler);
        let stop_following = stop_view.clone();
        background.spawn(async move { follower.follow(stop_following).await });
        let view = View {
            world: Arc::clone(&world),
            tally: Arc::clone(&tally),
            dispatcher: server.dispatcher().clone(),
            vendors: vendors.clone(),
            clock: server.clock().clone(),
            began,
        };
        background.spawn(view.show(stop_view.clone()));
        happen(server, vendors, &world, &tally, options, stop).await;
        stop_view.cancel();
        background.close();
        background.wait().await;
    }
    let ran_for = began.elapsed();
    finish(server, vendors, &settler, &tally).await?;
    let inboxes = vendors.inboxes(&world.tokens().collect::<Vec<_>>());
    Ok(Report::new(tally.snapshot(), inboxes, &vendors.activity(), ran_for))
}

/// The stream of messages and events, until the time is over or someone stops it.
async fn happen(
    server: &Server,
    vendors: &Vendors,
    world: &Arc<World>,
    tally: &Arc<Tally>,
    options: &DemoArgs,
    stop: &CancellationToken,
) {
    let stop_stream = stop.child_token();
    let tasks = TaskTracker::new();
    let stream = Stream {
        world: Arc::clone(world),
        tally: Arc::clone(tally),
        clock: server.clock().clone(),
        next: Arc::default(),
    };
    tasks.spawn(stream.clone().messages(options.rate, stop_stream.clone()));
    tasks.spawn(stream.phones(stop_stream.clone()));
    tasks.spawn(stream::mishaps(vendors.clone(), stop_stream.clone()));
    match options.run_for {
        Some(time) => {
            stop_stream.run_until_cancelled(tokio::time::sleep(time)).await;
        }
        None => stop_stream.cancelled().await,
    }
    stop_stream.cancel();
    tasks.close();
    tasks.wait().await;
}

/// Lets what is on its way arrive, and takes the last look.
async fn finish(server: &Server, vendors: &Vendors, settler: &Settler, tally: &Tally) -> sqlx::Result<()> {
    vendors.clear_faults();
    let deadline = Instant::now() + LAST_RETRIES;
    while Instant::now() < deadline {
        let idle = tokio::time::timeout(LAST_RETRIES, server.dispatcher().idle()).await;
        settler.look(false).await?;
        if idle.is_err() || tally.unsettled() == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    settler.look(true).await
}

/// The key of a fresh database's first start, or one more.
async fn admin_key(server: &Server) -> Fallible<SecretString> {
    if let Some(key) = server.first_key() {
        return Ok(key.clone());
    }
    let key = create_key(server.database(), server.clock(), "demo", Scope::Admin, None).await?;
    server.directory().refresh().await?;
    Ok(key)
}

/// An address to connect to: a server that listens everywhere is on this machine too.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        std::net::IpAddr::V4(ip) if ip.is_unspecified() => std::net::Ipv4Addr::LOCALHOST.into(),
        std::net::IpAddr::V6(ip) if ip.is_unspecified() => std::net::Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// What a newcomer needs.
fn welcome(world: &World, url: &str, key: &str, vendors: &Vendors, options: &DemoArgs) -> String {
    let apps: Vec<String> =
        world.apps.iter().map(|app| format!("{} ({}), {} users", app.name, app.id, app.users.len())).collect();
    let app = world.apps.first();
    let app_id = app.map_or(0, |app| app.id);
    let line = |(vendor, url): (VendorKind, String)| {
        let how =
            if vendor == VendorKind::Apns { " (TLS with a certificate authority of its own, HTTP/2)" } else { "" };
        format!("  {:<11} simulated at {url}{how}", vendor.as_str())
    };
    let simulated: Vec<String> = vendors.urls().map(line).collect();
    let token = world::xiaomi_token(app_id, "phone-of-killed-1").replace('+', "%2B").replace('=', "%3D");
    let until = match options.run_for {
        Some(time) => format!("for {} seconds", time.as_secs()),
        None => "until Ctrl-C".to_owned(),
    };
    format!(
        "
  API         {url}   described at {url}/openapi.json
  admin key   {key}
  apps        {apps}
{simulated}

Try it in another terminal:
  H='Authorization: Bearer {key}'; A={url}/v1/apps/{app_id}
  # send a message to a user whose app was killed, and look into the inbox of the simulated phone
  curl -s -H \"$H\" -H 'Content-Type: application/json' $A/notifications -d '{{\"message_id\":\"hello-1\",\"to\":[{{\"user_id\":\"killed-1\"}}],\"title\":\"You\",\"body\":\"Hello!\"}}'
  curl -s '{vendor}/_sim/inbox?token={token}'
  # why did someone who logged out get no push?
  curl -s -H \"$H\" \"$A/trace?user_id=logged-out-1\"
  # the devices of a user with two phones
  curl -s -H \"$H\" $A/users/two-phones-1/devices

{rate} messages a second, {until}:

",
        apps = apps.join("; "),
        vendor = vendors.url_of(VendorKind::Xiaomi).unwrap_or_default(),
        simulated = simulated.join("\n"),
        rate = options.rate,
    )
}

fn ending(report: &Report, was_temporary: bool) -> String {
    let rest = if was_temporary {
        "the temporary database is removed"
    } else {
        "its apps, keys and messages stay in your database"
    };
    format!(
        "\nDemo ended after {} s: {} messages accepted, {} lost, {} phantom; {rest}.\n",
        report.seconds, report.accepted, report.lost, report.phantom
    )
}

/// A number with `s`, `m` or `h`.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let parse = || {
        let unit = text.chars().last()?;
        let seconds = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            _ => return None,
        };
        let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
        (1..=1_000_000).contains(&number).then(|| Duration::from_secs(number * seconds))
    };
    parse().ok_or_else(|| "expected a time such as 20s, 2m or 1h".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: DemoArgs,
    }

    fn parse(args: &[&str]) -> Result<DemoArgs, clap::Error> {
        Command::try_parse_from([&["demo"], args].concat()).map(|command| command.args)
    }

    #[test]
    fn without_arguments_it_runs_until_it_is_stopped() {
        let args = parse(&[]).unwrap();
        assert_eq!((args.run_for, args.report, args.rate, args.listen), (None, None, 20, None));
    }

    #[test]
    fn times_have_a_unit() {
        for (text, seconds) in [("20s", 20), ("2m", 120), ("1h", 3_600)] {
            assert_eq!(parse(&["--for", text]).unwrap().run_for, Some(Duration::from_secs(seconds)));
        }
        for wrong in ["", "20", "s", "-1s", "0s", "1.5s", "1d", "99999999h", "分"] {
            assert!(parse(&["--for", wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_json_reports_and_sane_rates_are_taken() {
        assert_eq!(parse(&["--report", "json"]).unwrap().report, Some(ReportFormat::Json));
        for wrong in [["--report", "xml"], ["--rate", "0"], ["--rate", "1001"], ["--listen", "here"]] {
            assert!(parse(&wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_server_that_listens_everywhere_is_reached_on_this_machine() {
        assert_eq!(reachable("0.0.0.0:80".parse().unwrap()).to_string(), "127.0.0.1:80");
        assert_eq!(reachable("[::]:80".parse().unwrap()).to_string(), "[::1]:80");
    }
}
