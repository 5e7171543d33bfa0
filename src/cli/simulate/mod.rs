//! `rouse simulate`: stand-in vendor servers for trying Rouse, or an app's server, without any vendor account.

mod ca_file;
mod worlds;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use crate::simulator::{
    ApnsAuthority, ApnsCredentialError, ApnsEnvironment, ApnsSimulator, ApnsWorld, FleetMember, HuaweiSimulator,
    MeizuSimulator, OppoSimulator, StartError, VivoSimulator, XiaomiSimulator, after,
};
use ca_file::CaFile;
use worlds::{
    ApnsKeyFile, App, apns_world, huawei_world, meizu_world, oppo_world, parse_apns_key, parse_app, parse_parts,
    vivo_world, xiaomi_world,
};

/// Options of `rouse simulate`.
#[derive(Debug, Clone, Args)]
pub(super) struct SimulateArgs {
    /// Where Xiaomi's stand-in listens, and the others on the ports after it: APNs (production, sandbox), Huawei, Meizu,
    /// vivo, OPPO; loopback only. Port 0 takes any free ports
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7300")]
    pub listen: SocketAddr,
    /// An app the vendor knows: its `AppSecret` and its package. May be given several times; without any, and with
    /// --lenient, every app is known
    #[arg(long = "app", value_name = "SECRET=PACKAGE", value_parser = parse_app)]
    pub apps: Vec<App>,
    /// Where APNs' stand-in for production listens, HTTP/2 over TLS; loopback only. By default the port after that of
    /// --listen
    #[arg(long, value_name = "ADDRESS")]
    pub apns_listen: Option<SocketAddr>,
    /// Where APNs' stand-in for the sandbox listens; loopback only. By default the second port after that of --listen
    #[arg(long, value_name = "ADDRESS")]
    pub apns_sandbox_listen: Option<SocketAddr>,
    /// A signing key that APNs knows: its Key ID, its Team ID, a topic of the team and the .p8 file. May be given several
    /// times, also to name more topics; without any, and with --lenient, every key is taken, and its tokens are checked
    /// for their form and age only
    #[arg(long = "apns-key", value_name = "KEYID:TEAMID:TOPIC:P8FILE", value_parser = parse_apns_key)]
    pub apns_keys: Vec<ApnsKeyFile>,
    /// Where the CA certificate of APNs' stand-ins is written, which Rouse must trust. It is a new one at every start, so
    /// a running Rouse has to be started again. By default a file in the directory for temporary files that is removed at
    /// the end
    #[arg(long, value_name = "PATH")]
    pub ca_file: Option<PathBuf>,
    /// An app that Huawei knows: its OAuth client id and secret. May be given several times; without any, and with
    /// --lenient, every app is known. The same holds for the next three
    #[arg(long = "huawei-app", value_name = "CLIENTID:SECRET", value_parser = parse_parts::<2>)]
    pub huawei_apps: Vec<[String; 2]>,
    /// An app that Meizu knows: its AppID and its `AppSecret`
    #[arg(long = "meizu-app", value_name = "APPID:SECRET", value_parser = parse_parts::<2>)]
    pub meizu_apps: Vec<[String; 2]>,
    /// An app that vivo knows: its AppID (digits), AppKey and `AppSecret`
    #[arg(long = "vivo-app", value_name = "APPID:APPKEY:SECRET", value_parser = parse_parts::<3>)]
    pub vivo_apps: Vec<[String; 3]>,
    /// An app that OPPO knows: its AppKey and its `MasterSecret`
    #[arg(long = "oppo-app", value_name = "APPKEY:MASTERSECRET", value_parser = parse_parts::<2>)]
    pub oppo_apps: Vec<[String; 2]>,
    /// Take any secret, package, channel, template, signing key and topic; everything else is checked as usual
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

/// Why `rouse simulate` ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum SimulateError {
    /// A stand-in did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A signing key is not there.
    #[error("cannot read the signing key {}", path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A signing key is none.
    #[error("{} is no signing key for APNs", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: ApnsCredentialError,
    },
    /// An AppID of vivo's is no number.
    #[error("{id} is no AppID of vivo's: it must be digits")]
    VivoAppId {
        /// What was given.
        id: String,
    },
    /// The CA of the stand-ins could not be made.
    #[error("cannot make a CA")]
    Authority(#[source] ApnsCredentialError),
    /// The CA certificate could not be written.
    #[error("cannot write the CA certificate to {}", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The addresses could not be printed.
    #[error("cannot write to standard output")]
    Output(#[source] io::Error),
    /// The signals that end the command cannot be watched.
    #[error("cannot wait for a signal")]
    Signal(#[source] io::Error),
}

/// Runs the stand-ins until Ctrl-C or SIGTERM. Prints a line for each setting that points Rouse at them, after the vendor's
/// name.
///
/// # Errors
/// [`SimulateError`]: a port is taken or not on loopback, a signing key is none, the CA certificate cannot be written,
/// standard output is closed, signals cannot be watched.
pub(super) async fn run(args: SimulateArgs) -> Result<(), SimulateError> {
    let authority = ApnsAuthority::generate().map_err(SimulateError::Authority)?;
    let apns = apns_world(&args, &authority)?;
    let next = |steps| after(args.listen, steps);
    let xiaomi = XiaomiSimulator::start(args.listen, xiaomi_world(&args)).await?;
    let production = ApnsSimulator::start(args.apns_listen.unwrap_or(next(1)), apns.clone()).await?;
    let port = production.addr().port();
    let sandbox = ApnsWorld { environment: ApnsEnvironment::Sandbox, ..apns };
    let fleet: Vec<Arc<dyn FleetMember>> = vec![
        Arc::new(xiaomi),
        Arc::new(production),
        Arc::new(ApnsSimulator::start(args.apns_sandbox_listen.unwrap_or(next(2)), sandbox).await?),
        Arc::new(HuaweiSimulator::start(next(3), huawei_world(&args)).await?),
        Arc::new(MeizuSimulator::start(next(4), meizu_world(&args)).await?),
        Arc::new(VivoSimulator::start(next(5), vivo_world(&args)?).await?),
        Arc::new(OppoSimulator::start(next(6), oppo_world(&args)).await?),
    ];
    let ca_file = CaFile::write(args.ca_file.as_deref(), &authority, port)?;
    print(&mut io::stdout().lock(), &settings(&fleet, &ca_file.path)).map_err(SimulateError::Output)?;
    end_signal().await.map_err(SimulateError::Signal)?;
    for standin in fleet {
        standin.stop().await;
    }
    Ok(())
}

/// The settings that point Rouse at these, each with its vendor and value; the CA's after those of the vendor who needs it.
fn settings(fleet: &[Arc<dyn FleetMember>], ca_file: &Path) -> Vec<(&'static str, String, String)> {
    let variable = |key: &str| format!("ROUSE_VENDORS__{}", key.to_uppercase().replace('.', "__"));
    let mut settings = Vec::new();
    let mut members = fleet.iter().peekable();
    while let Some(member) = members.next() {
        let kind = member.kind();
        settings.extend(member.settings().iter().map(|key| (kind, variable(key), member.url())));
        let is_last = members.peek().is_none_or(|next| next.kind() != kind);
        if is_last && member.ca().is_some() {
            settings.push((kind, variable("extra_ca_file"), ca_file.display().to_string()));
        }
    }
    settings
}

fn print(out: &mut impl Write, settings: &[(&str, String, String)]) -> io::Result<()> {
    for (vendor, variable, value) in settings {
        writeln!(out, "{vendor}  {variable}={value}")?;
    }
    out.flush()
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
    use crate::simulator::{HuaweiWorld, XiaomiWorld};
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: SimulateArgs,
    }

    pub(super) fn parse(args: &[&str]) -> Result<SimulateArgs, clap::Error> {
        Command::try_parse_from([&["simulate"], args].concat()).map(|command| command.args)
    }

    #[test]
    fn it_listens_where_the_documents_say() {
        assert_eq!(parse(&[]).unwrap().listen, "127.0.0.1:7300".parse().unwrap());
    }

    #[tokio::test]
    async fn each_setting_is_a_line_after_its_vendor_and_that_of_the_ca_is_the_last_of_apns() {
        let any = "127.0.0.1:0".parse().unwrap();
        let sandbox = ApnsWorld { environment: ApnsEnvironment::Sandbox, ..ApnsWorld::default() };
        let fleet: Vec<Arc<dyn FleetMember>> = vec![
            Arc::new(XiaomiSimulator::start(any, XiaomiWorld::default()).await.unwrap()),
            Arc::new(ApnsSimulator::start(any, ApnsWorld::default()).await.unwrap()),
            Arc::new(ApnsSimulator::start(any, sandbox).await.unwrap()),
            Arc::new(HuaweiSimulator::start(any, HuaweiWorld::default()).await.unwrap()),
        ];
        let mut out = Vec::new();
        print(&mut out, &settings(&fleet, Path::new("/tmp/ca.pem"))).unwrap();
        let [xiaomi, production, sandbox, huawei] = fleet.as_slice() else { panic!("four were started") };
        let expected = format!(
            "xiaomi  ROUSE_VENDORS__XIAOMI__CN={}
apns  ROUSE_VENDORS__APNS__PRODUCTION={}
apns  ROUSE_VENDORS__APNS__SANDBOX={}
apns  ROUSE_VENDORS__EXTRA_CA_FILE=/tmp/ca.pem
huawei  ROUSE_VENDORS__HUAWEI__PUSH={}
huawei  ROUSE_VENDORS__HUAWEI__TOKEN={}
",
            xiaomi.url(),
            production.url(),
            sandbox.url(),
            huawei.url(),
            huawei.url(),
        );
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[tokio::test]
    async fn an_address_of_the_outside_is_refused() {
        let error = run(parse(&["--listen", "0.0.0.0:0"]).unwrap()).await.unwrap_err();
        assert!(error.to_string().contains("loopback addresses only"), "{error}");
    }
}
