//! What the stand-ins are told of the apps they know.

use std::path::PathBuf;
use std::time::Duration;

use super::{SimulateArgs, SimulateError};
use crate::simulator::{
    ApnsAuthority, ApnsKey, ApnsTeam, ApnsWorld, Basics, HuaweiApp, HuaweiWorld, Latency, MeizuApp, MeizuWorld,
    OppoApp, OppoWorld, VivoApp, VivoWorld, XiaomiApp, XiaomiWorld,
};

/// One known app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct App {
    /// The `AppSecret`.
    pub secret: String,
    /// The Android package.
    pub package: String,
}

/// One key known to APNs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct ApnsKeyFile {
    /// The Key ID.
    pub id: String,
    /// The Team ID.
    pub team: String,
    /// A bundle id of the team.
    pub topic: String,
    /// The `.p8` file.
    pub path: PathBuf,
}

impl SimulateArgs {
    /// What a stand-in is told whatever its vendor. One that knows no app takes any.
    pub(super) fn basics(&self, knows_apps: bool) -> Basics {
        Basics {
            lenient: self.lenient || !knows_apps,
            counters_only: self.counters_only,
            latency: Latency::fixed(self.latency_ms),
            ..Basics::default()
        }
    }
}

/// What both environments of APNs are told.
pub(super) fn apns_world(args: &SimulateArgs, authority: &ApnsAuthority) -> Result<ApnsWorld, SimulateError> {
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

pub(super) fn xiaomi_world(args: &SimulateArgs) -> XiaomiWorld {
    XiaomiWorld {
        receipt_delay: Duration::from_millis(args.receipt_delay_ms),
        apps: apps(&args.apps),
        ..args.basics(!args.apps.is_empty()).into()
    }
}

pub(super) fn huawei_world(args: &SimulateArgs) -> HuaweiWorld {
    HuaweiWorld {
        apps: args.huawei_apps.iter().map(|[id, secret]| HuaweiApp::new(id, secret)).collect(),
        ..args.basics(!args.huawei_apps.is_empty()).into()
    }
}

pub(super) fn meizu_world(args: &SimulateArgs) -> MeizuWorld {
    MeizuWorld {
        apps: args.meizu_apps.iter().map(|[id, secret]| MeizuApp::new(id, secret)).collect(),
        ..args.basics(!args.meizu_apps.is_empty()).into()
    }
}

pub(super) fn vivo_world(args: &SimulateArgs) -> Result<VivoWorld, SimulateError> {
    let app = |[id, key, secret]: &[String; 3]| {
        let number = id.parse().map_err(|_| SimulateError::VivoAppId { id: id.clone() })?;
        Ok(VivoApp::new(number, key, secret))
    };
    Ok(VivoWorld {
        apps: args.vivo_apps.iter().map(app).collect::<Result<_, SimulateError>>()?,
        ..args.basics(!args.vivo_apps.is_empty()).into()
    })
}

pub(super) fn oppo_world(args: &SimulateArgs) -> OppoWorld {
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

/// Secrets may hold `=`, packages cannot, so the last one divides.
pub(super) fn parse_app(text: &str) -> Result<App, String> {
    match text.rsplit_once('=') {
        Some((secret, package)) if !secret.is_empty() && !package.is_empty() => {
            Ok(App { secret: secret.to_owned(), package: package.to_owned() })
        }
        _ => Err("expected SECRET=PACKAGE".to_owned()),
    }
}

/// The last part may hold `:`, the others cannot.
pub(super) fn parse_parts<const N: usize>(text: &str) -> Result<[String; N], String> {
    let parts: Vec<String> = text.splitn(N, ':').map(str::to_owned).collect();
    let is_whole = parts.iter().all(|part| !part.is_empty());
    parts.try_into().ok().filter(|_| is_whole).ok_or_else(|| format!("expected {N} parts with colons between"))
}

/// Paths may hold `:`, the rest cannot.
pub(super) fn parse_apns_key(text: &str) -> Result<ApnsKeyFile, String> {
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

#[cfg(test)]
mod tests {
    use super::super::tests::parse;
    use super::*;

    #[test]
    fn without_an_app_every_app_is_known() {
        let args = parse(&[]).unwrap();
        assert!(xiaomi_world(&args).lenient);
        assert!(!xiaomi_world(&parse(&["--app", "s=p"]).unwrap()).lenient);
        assert!(xiaomi_world(&parse(&["--app", "s=p", "--lenient"]).unwrap()).lenient);
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
}
