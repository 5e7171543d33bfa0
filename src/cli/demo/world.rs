//! The little world: apps, certificates, and users whose phones are in every state. All of it goes through the REST API.

use serde_json::{Value, json};

use super::DemoError;
use super::client::Client;
use super::vendors::Vendors;
use crate::clock::Clock;
use crate::domain::certificate::VendorKind;
use crate::secrets::hex_digest;
use crate::simulator::TokenState;

/// Events of one call.
const EVENTS_PER_CALL: usize = 500;
/// How long ago the world began: its events have times after that, in order.
const PAST_MS: u64 = 120_000;

/// Apps and people.
pub(super) struct World {
    pub apps: Vec<App>,
}

/// One app with its people, and a client with its chat key.
pub(super) struct App {
    pub id: i64,
    pub name: &'static str,
    pub chat: Client,
    pub certificates: Vec<Certificate>,
    pub users: Vec<User>,
}

/// A certificate as the view shows it.
pub(super) struct Certificate {
    pub id: i64,
    pub vendor: VendorKind,
    pub name: String,
}

/// One user.
pub(super) struct User {
    pub id: String,
    pub state: State,
    /// The first phone.
    pub device_id: String,
    /// Who made the phones.
    pub vendor: VendorKind,
}

impl User {
    /// What the user's devices run.
    pub(super) fn platform(&self) -> &'static str {
        match (self.state, self.vendor) {
            (State::WebOnly, _) => "web",
            (_, VendorKind::Apns) => "ios",
            _ => "android",
        }
    }
}

/// What the world knows of a user's devices when it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Killed,
    TwoPhones,
    Foreground,
    Background,
    LoggedOut,
    Kicked,
    WebOnly,
    SwitchedAway,
    SwitchedTo,
    NoToken,
    DeadToken,
    NotificationsOff,
    NotLoggedInYet,
}

impl State {
    /// The first part of a user's name.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Killed => "killed",
            Self::TwoPhones => "two-phones",
            Self::Foreground => "foreground",
            Self::Background => "background",
            Self::LoggedOut => "logged-out",
            Self::Kicked => "kicked",
            Self::WebOnly => "web-only",
            Self::SwitchedAway => "switched-away",
            Self::SwitchedTo => "switched-to",
            Self::NoToken => "no-token",
            Self::DeadToken => "dead-token",
            Self::NotificationsOff => "notifications-off",
            Self::NotLoggedInYet => "not-logged-in-yet",
        }
    }
}

impl State {
    /// Whose phones come first: Meizu is the one that says at once when notifications are off.
    const fn turn(self) -> usize {
        match self {
            Self::NotificationsOff => 5,
            Self::DeadToken => 1,
            _ => 0,
        }
    }
}

/// The people of one app: 100.
const PEOPLE: [(State, usize); 13] = [
    (State::Killed, 38),
    (State::TwoPhones, 8),
    (State::Foreground, 10),
    (State::Background, 8),
    (State::LoggedOut, 8),
    (State::Kicked, 6),
    (State::WebOnly, 6),
    (State::SwitchedAway, 2),
    (State::SwitchedTo, 2),
    (State::NoToken, 5),
    (State::DeadToken, 3),
    (State::NotificationsOff, 2),
    (State::NotLoggedInYet, 2),
];

struct AppPlan {
    name: &'static str,
    /// The package of each certificate; for iOS the bundle id.
    accounts: &'static [(VendorKind, &'static str)],
}

const APPS: [AppPlan; 2] = [
    AppPlan {
        name: "Harbour Chat",
        // The guide printed at the start looks into the inbox of the first phone: one of Xiaomi's.
        accounts: &[
            (VendorKind::Xiaomi, "com.example.harbour"),
            (VendorKind::Xiaomi, "com.example.harbour.lite"),
            (VendorKind::Huawei, "com.example.harbour"),
            (VendorKind::Oppo, "com.example.harbour"),
            (VendorKind::Vivo, "com.example.harbour"),
            (VendorKind::Meizu, "com.example.harbour"),
            (VendorKind::Apns, "com.example.harbour"),
        ],
    },
    AppPlan {
        name: "Orchard Team",
        accounts: &[
            (VendorKind::Xiaomi, "com.example.orchard"),
            (VendorKind::Huawei, "com.example.orchard"),
            (VendorKind::Oppo, "com.example.orchard"),
            (VendorKind::Vivo, "com.example.orchard"),
            (VendorKind::Meizu, "com.example.orchard"),
            (VendorKind::Apns, "com.example.orchard"),
        ],
    },
];

/// The token of a device, in the shape in which its vendor gives them out.
pub(super) fn token_of(vendor: VendorKind, app_id: i64, device_id: &str) -> String {
    let digest = || hex_digest(format!("{vendor}/{device_id}/{app_id}").as_bytes());
    match vendor {
        VendorKind::Apns => digest(),
        VendorKind::Huawei => format!("IQAAAACy{}", digest()),
        VendorKind::Meizu => format!("RA50c{:.40}", digest()),
        VendorKind::Vivo => format!("v2-CR{:.54}", digest()),
        VendorKind::Oppo => format!("OPPO_CN_{:.32}", digest()),
        _ => xiaomi_token(app_id, device_id),
    }
}

/// The same for a phone of Xiaomi's.
pub(super) fn xiaomi_token(app_id: i64, device_id: &str) -> String {
    format!("demo+{device_id}/{app_id}==")
}

/// Makes the vendor's accounts known to the simulator, and the whole world known to the server.
pub(super) async fn build(admin: &Client, vendors: &Vendors, clock: &Clock) -> Result<World, DemoError> {
    let began_ms = clock.now_ms().saturating_sub(PAST_MS);
    let mut apps = Vec::with_capacity(APPS.len());
    for (plan, number) in APPS.iter().zip(1_i64..) {
        // The start time in it: in a database of your own it collides with nothing.
        let app_id = i64::try_from(began_ms).unwrap_or_default() * 10 + number;
        apps.push(build_app(admin, vendors, plan, app_id, began_ms).await?);
    }
    Ok(World { apps })
}

async fn build_app(
    admin: &Client,
    vendors: &Vendors,
    plan: &AppPlan,
    app_id: i64,
    began_ms: u64,
) -> Result<App, DemoError> {
    let new = json!({"app_id": app_id, "name": plan.name, "settings": {"pending_binding_s": 3_600}});
    admin.post("/v1/apps", &new).await?.success("make an app")?;
    let mut certificates = Vec::with_capacity(plan.accounts.len());
    for ((vendor, package), number) in plan.accounts.iter().zip(1_u64..) {
        // Packages of one app share the digit of the app, so that no two accounts of a vendor are the same.
        let number = u64::try_from(app_id % 10).unwrap_or_default() * 100 + number;
        let account = vendors.account(*vendor, package, number)?;
        certificates.push(store(admin, app_id, *vendor, &account).await?);
    }
    let key = json!({"name": format!("{} chat server", plan.name), "scope": "chat", "app_id": app_id});
    let key = admin.post("/v1/api-keys", &key).await?.success("make a key")?;
    let key = key["key"].as_str().ok_or(DemoError::Answer { what: "a key without its secret" })?;
    let vendors_of: Vec<VendorKind> = certificates.iter().map(|certificate| certificate.vendor).collect();
    let users = users(&vendors_of);
    let app = App { id: app_id, name: plan.name, chat: admin.with_key(key), certificates, users };
    settle_in(&app, vendors, began_ms).await?;
    Ok(app)
}

async fn store(admin: &Client, app_id: i64, vendor: VendorKind, account: &Value) -> Result<Certificate, DemoError> {
    let path = format!("/v1/apps/{app_id}/certificates");
    let stored = admin.post(&path, account).await?.success("store a certificate")?;
    let certificate_id =
        stored["certificate_id"].as_i64().ok_or(DemoError::Answer { what: "a certificate without its id" })?;
    let name = account["name"].as_str().unwrap_or_default().to_owned();
    Ok(Certificate { id: certificate_id, vendor, name })
}

/// Everyone, their phones spread over the certificates; whoever shares a phone has the same.
fn users(vendors: &[VendorKind]) -> Vec<User> {
    let of_state = |(state, count): (State, usize)| {
        (1..=count).map(move |number: usize| {
            let id = format!("{}-{number}", state.as_str());
            let device_id = match state {
                // One phone, two accounts.
                State::SwitchedAway | State::SwitchedTo => format!("shared-phone-{number}"),
                State::WebOnly => format!("browser-{number}"),
                _ => format!("phone-of-{id}"),
            };
            let turn = number - 1 + state.turn();
            let vendor = vendors.get(turn % vendors.len().max(1)).copied().unwrap_or(VendorKind::Xiaomi);
            User { id, state, device_id, vendor }
        })
    };
    PEOPLE.into_iter().flat_map(of_state).collect()
}

/// Reports everyone's sessions, and marks the tokens that the vendor treats in its own way.
async fn settle_in(app: &App, vendors: &Vendors, began_ms: u64) -> Result<(), DemoError> {
    let mut events = Vec::new();
    for (index, user) in app.users.iter().enumerate() {
        let certificate = app.certificate_of(index, user.vendor);
        let token = token_of(user.vendor, app.id, &user.device_id);
        match user.state {
            State::DeadToken => vendors.mark_token(user.vendor, &token, TokenState::Dead),
            State::NotificationsOff => vendors.mark_token(user.vendor, &token, TokenState::Off),
            State::NotLoggedInYet => {
                let path = format!("/v1/apps/{}/users/{}/devices/{}/binding", app.id, user.id, user.device_id);
                let binding = json!({"certificate_id": certificate, "token": token, "platform": user.platform()});
                app.chat.put(&path, &binding).await?.success("report a token")?;
            }
            _ => {}
        }
        events.extend(history(user, app.id, certificate, began_ms));
    }
    for chunk in events.chunks(EVENTS_PER_CALL) {
        app.report(chunk).await?;
    }
    Ok(())
}

/// What happened to a user's devices until now.
fn history(user: &User, app_id: i64, certificate_id: i64, began_ms: u64) -> Vec<Value> {
    let on = |device_id: &str, kind: &str, second: u64| {
        json!({
            "user_id": user.id, "device_id": device_id, "platform": user.platform(), "type": kind,
            "event_time": began_ms + second * 1_000,
        })
    };
    let login = |device_id: &str, second: u64| {
        let mut event = on(device_id, "login", second);
        if !matches!(user.state, State::NoToken | State::WebOnly) {
            event["certificate_id"] = certificate_id.into();
            event["token"] = token_of(user.vendor, app_id, device_id).into();
        }
        event
    };
    let phone = user.device_id.as_str();
    match user.state {
        State::NotLoggedInYet => Vec::new(),
        State::Foreground | State::WebOnly => vec![login(phone, 0)],
        State::Background => vec![login(phone, 0), on(phone, "background", 5)],
        State::LoggedOut => vec![login(phone, 0), on(phone, "logout", 5)],
        State::Kicked => vec![login(phone, 0), on(phone, "kicked", 5)],
        State::SwitchedTo => vec![login(phone, 20), on(phone, "disconnect", 25)],
        State::TwoPhones => {
            let second = second_phone(user);
            vec![login(phone, 0), on(phone, "disconnect", 5), login(&second, 10), on(&second, "disconnect", 15)]
        }
        State::Killed | State::SwitchedAway | State::NoToken | State::DeadToken | State::NotificationsOff => {
            vec![login(phone, 0), on(phone, "background", 5), on(phone, "disconnect", 10)]
        }
    }
}

fn second_phone(user: &User) -> String {
    format!("second-{}", user.device_id)
}

impl World {
    /// Whose certificate it is.
    pub(super) fn vendor_of(&self, certificate_id: Option<i64>) -> VendorKind {
        let all = self.apps.iter().flat_map(|app| &app.certificates);
        let found = all.into_iter().find(|certificate| Some(certificate.id) == certificate_id);
        found.map_or(VendorKind::Xiaomi, |certificate| certificate.vendor)
    }

    /// The tokens of every phone.
    pub(super) fn tokens(&self) -> impl Iterator<Item = String> {
        self.apps.iter().flat_map(|app| {
            app.users.iter().flat_map(|user| {
                [user.device_id.clone(), second_phone(user)]
                    .map(|device| token_of(user.vendor, app.id, &device))
                    .into_iter()
                    .take(match user.state {
                        State::TwoPhones => 2,
                        State::SwitchedTo => 0, // the phone of the user who switched away
                        _ => 1,
                    })
            })
        })
    }
}

impl App {
    /// The certificate that a user's app was built with.
    fn certificate_of(&self, user: usize, vendor: VendorKind) -> i64 {
        let of_vendor = self.certificates.iter().filter(|certificate| certificate.vendor == vendor);
        let ids: Vec<i64> = of_vendor.map(|certificate| certificate.id).collect();
        ids.get(user % ids.len().max(1)).copied().unwrap_or_default()
    }

    /// Reports session events.
    pub(super) async fn report(&self, events: &[Value]) -> Result<(), DemoError> {
        let path = format!("/v1/apps/{}/session-events", self.id);
        self.chat.post(&path, &json!({"events": events})).await?.success("report session events")?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn an_app_has_a_hundred_different_users() {
        let users = users(&[VendorKind::Xiaomi, VendorKind::Apns]);
        let names: HashSet<_> = users.iter().map(|user| user.id.as_str()).collect();
        assert_eq!((users.len(), names.len()), (100, 100));
    }

    #[test]
    fn everyone_with_a_session_logs_in_first() {
        for user in users(&[VendorKind::Xiaomi, VendorKind::Apns]) {
            let history = history(&user, 1, 2, 1_000);
            if user.state == State::NotLoggedInYet {
                assert!(history.is_empty());
            } else {
                assert_eq!(history[0]["type"], "login", "{}", user.id);
                let is_reachable = !matches!(user.state, State::NoToken | State::WebOnly);
                assert_eq!(history[0].get("token").is_some(), is_reachable, "{}", user.id);
            }
        }
    }
}
