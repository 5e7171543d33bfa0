//! `rouse simulate`: stand-in vendor servers for trying Rouse, or an app's server, without any vendor account.

mod ca_file;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use crate::simulator::{
    ApnsAuthority, ApnsCredentialError, ApnsEnvironment, ApnsKey, ApnsSimulator, ApnsTeam, ApnsWorld, Basics,
    FleetMember, HuaweiApp, HuaweiSimulator, HuaweiWorld, Latency, MeizuApp, MeizuSimulator, MeizuWorld, OppoApp,
    OppoSimulator, OppoWorld, StartError, VivoApp, VivoSimulator, VivoWorld, XiaomiApp, XiaomiSimulator, XiaomiWorld,
    after,
};
use ca_file::CaFile;

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

/// One known app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct App {
    /// The `AppSecret`.
    pub secret: String,
    /// The Android package.
    pub package: String,
}

/// One key known to APNs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ApnsKeyFile {
    /// The Key ID.
    pub id: String,
    /// The Team ID.
    pub team: String,
    /// A bundle id of the team.
    pub topic: String,
    /// The `.p8` file.
    pub path: PathBuf,
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
    let xiaomi = XiaomiSimulator::start(args.listen, world(&args)).await?;
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

impl SimulateArgs {
    /// What a stand-in is told whatever its vendor. One that knows no app takes any.
    fn basics(&self, knows_apps: bool) -> Basics {
        Basics {
            lenient: self.lenient || !knows_apps,
            counters_only: self.counters_only,
            latency: Latency::fixed(self.latency_ms),
            ..Basics::default()
        }
    }
}

/// What both environments of APNs are told.
fn apns_world(args: &SimulateArgs, authority: &ApnsAuthority) -> Result<ApnsWorld, SimulateError> {
    let mut world = ApnsWorld { authority: Some(authority.clone()), ..args.basics(!args.apns_keys.is_empty()).into() };
    for ApnsKeyFile { id, team, topic, path } in &args.apns_keys {
        let failed = |source| SimulateError::KeyFile { path: path.clone(), source };
        let pem = std::fs::read_to_string(path).map_err(failed)?;
        let key = ApnsKey::from_p8(id, team, &pem);
        world.keys.push(key.map_err(|source| SimulateError::Key { path: path.clone(), source })?);
        world.teams.push(ApnsTeam { id: team.clone(), topics: vec![topic.clone()] });
    }
    Ok(world)
}

fn world(args: &SimulateArgs) -> XiaomiWorld {
    XiaomiWorld {
        receipt_delay: Duration::from_millis(args.receipt_delay_ms),
        apps: apps(&args.apps),
        ..args.basics(!args.apps.is_empty()).into()
    }
}

fn huawei_world(args: &SimulateArgs) -> HuaweiWorld {
    HuaweiWorld {
        apps: args.huawei_apps.iter().map(|[id, secret]| HuaweiApp::new(id, secret)).collect(),
        ..args.basics(!args.huawei_apps.is_empty()).into()
    }
}

fn meizu_world(args: &SimulateArgs) -> MeizuWorld {
    MeizuWorld {
        apps: args.meizu_apps.iter().map(|[id, secret]| MeizuApp::new(id, secret)).collect(),
        ..args.basics(!args.meizu_apps.is_empty()).into()
    }
}

fn vivo_world(args: &SimulateArgs) -> Result<VivoWorld, SimulateError> {
    let app = |[id, key, secret]: &[String; 3]| {
        let number = id.parse().map_err(|_| SimulateError::VivoAppId { id: id.clone() })?;
        Ok(VivoApp::new(number, key, secret))
    };
    Ok(VivoWorld {
        apps: args.vivo_apps.iter().map(app).collect::<Result<_, SimulateError>>()?,
        ..args.basics(!args.vivo_apps.is_empty()).into()
    })
}

fn oppo_world(args: &SimulateArgs) -> OppoWorld {
    OppoWorld {
        apps: args.oppo_apps.iter().map(|[key, secret]| OppoApp::new(key, secret)).collect(),
        ..args.basics(!args.oppo_apps.is_empty()).into()
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

fn print(out: &mut impl Write, settings: &[(&str, String, String)]) -> io::Result<()> {
    for (vendor, variable, value) in settings {
        writeln!(out, "{vendor}  {variable}={value}")?;
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

/// The last part may hold `:`, the others cannot.
fn parse_parts<const N: usize>(text: &str) -> Result<[String; N], String> {
    let parts: Vec<String> = text.splitn(N, ':').map(str::to_owned).collect();
    let is_whole = parts.iter().all(|part| !part.is_empty());
    parts.try_into().ok().filter(|_| is_whole).ok_or_else(|| format!("expected {N} parts with colons between"))
}

/// Paths may hold `:`, the rest cannot.
fn parse_apns_key(text: &str) -> Result<ApnsKeyFile, String> {
    let parts: Vec<_> = text.splitn(4, ':').collect();
    match parts.as_slice() {
        [id, team, topic, path] if parts.iter().all(|part| !part.is_empty()) => Ok(ApnsKeyFile {
            id: (*id).to_owned(),
            team: (*team).to_owned(),
            topic: (*topic).to_owned(),
            path: PathBuf::from(path),
        }),
        _ => Err("expected KEYID:TEAMID:TOPIC:P8FILE".to_owned()),
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

    #[test]
    fn apns_takes_any_key_until_one_is_given() {
        let authority = ApnsAuthority::generate().unwrap();
        let world = |args: &[&str]| apns_world(&parse(args).unwrap(), &authority);
        assert!(world(&[]).unwrap().lenient);
        let path = std::env::temp_dir().join(format!("rouse-simulate-test-{}.p8", std::process::id()));
        let file = |topic: &str| format!("ABC123DEFG:TEAM123456:{topic}:{}", path.display());
        let (first, second) = (file("com.example.im"), file("com.example.im.voip"));
        std::fs::write(&path, ApnsKey::generate("ABC123DEFG", "TEAM123456").unwrap().p8_pem()).unwrap();
        let known = world(&["--apns-key", &first, "--apns-key", &second]).unwrap();
        assert_eq!((known.lenient, known.teams[1].topics[0].as_str()), (false, "com.example.im.voip"));
        assert_eq!((known.keys[0].id(), known.keys[0].team()), ("ABC123DEFG", "TEAM123456"));
        assert!(world(&["--apns-key", &first, "--lenient"]).unwrap().lenient);
        std::fs::write(&path, "no key").unwrap();
        assert!(matches!(world(&["--apns-key", &first]), Err(SimulateError::Key { .. })));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(world(&["--apns-key", &first]), Err(SimulateError::KeyFile { .. })));
        for wrong in ["a:b:c", "a:b:c:", ":b:c:d"] {
            assert!(parse(&["--apns-key", wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_other_vendors_take_any_app_until_one_is_given() {
        let args = parse(&[]).unwrap();
        assert!(huawei_world(&args).lenient && meizu_world(&args).lenient && oppo_world(&args).lenient);
        assert!(vivo_world(&args).unwrap().lenient);
        let one = ["--huawei-app", "1:a:b", "--meizu-app", "2:c", "--vivo-app", "3:k:s", "--oppo-app", "k:m"];
        let args = parse(&one).unwrap();
        let huawei = huawei_world(&args);
        assert_eq!((huawei.lenient, huawei.apps[0].client_secret.as_str()), (false, "a:b"));
        let vivo = vivo_world(&args).unwrap();
        assert_eq!((vivo.apps[0].app_id, vivo.apps[0].app_key.as_str()), (3, "k"));
        assert_eq!(
            (meizu_world(&args).apps[0].app_id.as_str(), oppo_world(&args).apps[0].app_key.as_str()),
            ("2", "k")
        );
        for wrong in [["--huawei-app", "1"], ["--vivo-app", "3:k"], ["--oppo-app", ":m"], ["--meizu-app", "2:"]] {
            assert!(parse(&wrong).is_err(), "{wrong:?}");
        }
        let letters = parse(&["--vivo-app", "x:k:s"]).unwrap();
        assert!(matches!(vivo_world(&letters), Err(SimulateError::VivoAppId { .. })));
    }

    #[tokio::test]
    async fn an_address_of_the_outside_is_refused() {
        let error = run(parse(&["--listen", "0.0.0.0:0"]).unwrap()).await.unwrap_err();
        assert!(error.to_string().contains("loopback addresses only"), "{error}");
    }
}
