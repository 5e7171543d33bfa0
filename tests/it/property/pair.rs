//! Two servers on one database, and how a sequence is told to them.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use rouse::clock::Clock;
use rouse::domain::certificate::VendorKind;
use rouse::domain::id::{AppId, CertificateId};
use rouse::domain::preferences::Notify;
use rouse::domain::routing::{Decision, User, Wishes, decide};
use rouse::domain::session::{Applied, BindingStatus, Event, EventType, Platform, ReportedToken, SessionState};
use rouse::server::Server;
use rouse::sessions::{self, Change, Changed};
use rouse::store;
use rouse::store::apps::App;
use rouse::store::devices::TokenVerdict;
use rouse::store::notifications::{Question, RoutedDevice};
use serde_json::json;

use super::model::{self, Answer, Policy, View};
use super::plan::{Call, DEVICES, TEXTS, TOKENS, Told, USERS, What};
use crate::world::World;

/// Where tokens come from, by their number: the vendor, and its certificate beside the app's first.
const VENDORS: [(VendorKind, i64); TOKENS] = [(VendorKind::Xiaomi, 0), (VendorKind::Xiaomi, 0), (VendorKind::Meizu, 1)];
const FIRST_APP: i64 = 1_500_000_000;

/// See the module.
pub(super) struct Pair {
    first: World,
    second: Option<Server>,
    apps: Vec<(Option<Policy>, Arc<App>)>,
    runs: AtomicU64,
}

impl Pair {
    pub(super) async fn start(pool: sqlx::PgPool) -> Self {
        let first = World::start(pool).await;
        let second = first.another_server().await;
        let policies = [None, Some(Policy::Single), Some(Policy::Triple)];
        for (app_id, policy) in (FIRST_APP..).zip(policies) {
            first.app(app_id).await;
            let kick =
                policy.map_or(json!({"enforce": false}), |policy| json!({"enforce": true, "policy": policy.kick()}));
            // A sequence tells of some minutes within a moment; nothing is to end of itself.
            let settings = json!({"kick": kick, "heartbeat_timeout_s": 3600, "web_heartbeat_timeout_s": 3600});
            first.patch(&format!("/v1/apps/{app_id}"), &json!({"settings": settings})).await.ok();
            first.certificate(app_id, json!({"certificate_id": certificate_id(app_id, 0)})).await;
        }
        second.directory().refresh().await.unwrap();
        let snapshot = second.directory().snapshot().clone();
        let apps = policies.into_iter().zip(FIRST_APP..);
        let apps = apps.map(|(policy, app_id)| (policy, Arc::clone(&snapshot.apps[&AppId(app_id)]))).collect();
        Self { first, second: Some(second), apps, runs: AtomicU64::new(0) }
    }

    pub(super) async fn stop(mut self) {
        if let Some(second) = self.second.take() {
            second.stop().await;
        }
        self.first.stop().await;
    }

    pub(super) fn pool(&self) -> &sqlx::PgPool {
        &self.first.pool
    }

    fn server(&self, instance: usize) -> &Server {
        self.second.as_ref().filter(|_| instance == 1).unwrap_or_else(|| self.first.server())
    }

    /// A little world nobody has used: sequences share apps, but no names.
    pub(super) fn stage(&self, number: u64) -> Stage<'_> {
        let kinds = u64::try_from(self.apps.len()).unwrap();
        let (policy, app) = &self.apps[usize::try_from(number % kinds).unwrap()];
        let run = self.runs.fetch_add(1, Ordering::Relaxed);
        let began = self.server(0).clock().now();
        let users = (0..USERS).map(|user| format!("r{run}-u{user}")).collect();
        Stage { pair: self, policy: *policy, app, run, began, users }
    }
}

/// A clock that shows one time only: whatever is taken as now in a step has the same, in whatever order it is written.
fn standing_at(time: DateTime<Utc>) -> Clock {
    loop {
        let clock = Clock::starting_at(time - TimeDelta::microseconds(20));
        let shown = std::iter::repeat_with(|| clock.now()).find(|now| *now >= time);
        // It never goes back.
        clock.advance(TimeDelta::days(-1));
        if shown == Some(time) {
            return clock;
        }
    }
}

fn certificate_id(app_id: i64, of_vendor: i64) -> i64 {
    (app_id - FIRST_APP + 2) * 10_000 + of_vendor
}

/// The names of one sequence.
pub(super) struct Stage<'a> {
    pair: &'a Pair,
    pub(super) policy: Option<Policy>,
    app: &'a App,
    run: u64,
    began: DateTime<Utc>,
    users: Vec<String>,
}

/// What stands in the database, and what routing makes of it.
pub(super) struct Seen {
    pub(super) view: View,
    pub(super) platforms: [[Option<Platform>; DEVICES]; USERS],
    /// Whom routing pushes to, and with which token.
    pub(super) pushes: [[Option<usize>; DEVICES]; USERS],
}

type Row = (String, String, String, String, Option<i64>, Option<String>, Option<String>);

impl Stage<'_> {
    fn device_id(&self, device: usize) -> String {
        format!("r{}-d{device}", self.run)
    }

    fn token(&self, token: usize) -> ReportedToken {
        let (vendor, certificate) = VENDORS[token];
        let certificate_id = CertificateId(certificate_id(self.app.app_id.0, certificate));
        ReportedToken { certificate_id, vendor, token: format!("r{}-{}", self.run, TEXTS[token]) }
    }

    fn time(&self, seconds: i64) -> DateTime<Utc> {
        self.began + TimeDelta::seconds(seconds)
    }

    fn change(&self, told: &Told) -> Change {
        let (user_id, device_id) = (self.users[told.user].clone(), self.device_id(told.device));
        match (told.what, told.token) {
            (What::Event(kind), token) => Change::Event(Event {
                login_seq: told.login_seq,
                token: token.map(|token| self.token(token)),
                kicked_devices: told.kicked_devices.iter().map(|device| self.device_id(*device)).collect(),
                kicked_platforms: told.kicked_platforms.clone(),
                unread: (kind == EventType::Read).then_some(1),
                ..Event::plain(&user_id, &device_id, told.platform, kind, self.time(told.at))
            }),
            (What::Report, Some(token)) => {
                Change::Report { user_id, device_id, platform: told.platform, token: self.token(token) }
            }
            _ => Change::Unbind { user_id, device_id },
        }
    }

    /// Tells it, and waits for the answers.
    pub(super) async fn tell(&self, call: &Call, now: i64) -> sqlx::Result<Vec<Answer>> {
        let server = self.pair.server(call.instance);
        if let [Told { what: What::Verdict(status), .. }] = &call.told[..] {
            self.pronounce(server, &call.told[0], *status).await?;
            return Ok(vec![Answer::Heard]);
        }
        // Of its own for each call: the same sequence meets the same time, however fast it goes.
        let clock = standing_at(self.time(now + 1));
        let told: Vec<Change> = call.told.iter().map(|told| self.change(told)).collect();
        let changed =
            sessions::apply(server.database(), server.directory(), server.dispatcher(), &clock, self.app, &told)
                .await?;
        let answer = |changed: &Changed| match changed {
            Changed::Event(Applied::Applied) => Answer::Applied,
            Changed::Event(Applied::Stale) => Answer::Stale,
            Changed::Event(Applied::Refused(_)) => Answer::Refused,
            Changed::Reported { pending, .. } => Answer::Reported { pending: *pending },
            Changed::Unbound(was_there) => Answer::Unbound(*was_there),
            Changed::Lapsed => Answer::Heard,
        };
        Ok(changed.iter().map(answer).collect())
    }

    async fn pronounce(&self, server: &Server, told: &Told, status: BindingStatus) -> sqlx::Result<()> {
        let Some(token) = told.token else { return Ok(()) };
        let verdict = TokenVerdict {
            app_id: self.app.app_id,
            user_id: self.users[told.user].clone(),
            device_id: self.device_id(told.device),
            token: self.token(token).token,
            tried_at: self.time(told.at),
            status,
        };
        store::devices::mark_tokens(&server.database().pipeline, &[verdict]).await.map(|_| ())
    }

    /// Looks at this instance.
    pub(super) async fn look(&self, instance: usize, now: i64) -> sqlx::Result<Seen> {
        let mut seen = Seen { view: View::default(), platforms: Default::default(), pushes: Default::default() };
        for (user_id, device_id, platform, state, certificate, token, status) in self.rows(instance).await? {
            let user = self.users.iter().position(|known| *known == user_id).unwrap();
            let device = self.number_of_device(&device_id);
            let binding = status.map(|status| {
                let token = self.number_of(certificate, token.as_deref()).unwrap();
                (token, BindingStatus::parse(&status).unwrap())
            });
            seen.view[user][device] = Some(model::Seen { state: SessionState::parse(&state).unwrap(), binding });
            seen.platforms[user][device] = Platform::parse(&platform);
        }
        self.route(instance, now, &mut seen).await?;
        Ok(seen)
    }

    async fn rows(&self, instance: usize) -> sqlx::Result<Vec<Row>> {
        sqlx::query_as(
            "SELECT user_id, device_id, platform, session_state, certificate_id, token, binding_status
             FROM devices WHERE app_id = $1 AND user_id = ANY ($2)",
        )
        .bind(self.app.app_id.0)
        .bind(&self.users)
        .fetch_all(&self.pair.server(instance).database().api)
        .await
    }

    /// Asks as acceptance does.
    async fn route(&self, instance: usize, now: i64, seen: &mut Seen) -> sqlx::Result<()> {
        let mut question = Question::default();
        for user in &self.users {
            question.push(self.app.app_id.0, user, None, false);
        }
        let now = self.time(now + 1);
        let devices = store::notifications::route(&self.pair.server(instance).database().api, &question, now).await?;
        for (user, user_id) in self.users.iter().enumerate() {
            let of_user: Vec<&RoutedDevice> = devices.iter().filter(|device| device.recipient == user).collect();
            let candidates: Vec<_> = of_user.iter().map(|device| device.candidate()).collect();
            let asked = User { user_id, preferences: None, notify: Notify::All, is_mentioned: false };
            let Decision::Each(decisions) = decide(&asked, &candidates, &Wishes::default(), &self.app.settings, now)
            else {
                continue;
            };
            for (device, _) in of_user.into_iter().zip(decisions).filter(|(_, decision)| decision.is_none()) {
                let token = self.number_of(device.certificate_id, device.token.as_deref());
                seen.pushes[user][self.number_of_device(&device.device_id)] = token;
            }
        }
        Ok(())
    }

    fn number_of_device(&self, device_id: &str) -> usize {
        (0..DEVICES).find(|number| device_id == self.device_id(*number)).unwrap()
    }

    fn number_of(&self, certificate: Option<i64>, token: Option<&str>) -> Option<usize> {
        (0..TOKENS).find(|number| {
            let known = self.token(*number);
            (certificate, token) == (Some(known.certificate_id.0), Some(&*known.token))
        })
    }

    /// Whether one of these instances holds back what it judged before `since` for a device.
    pub(super) fn is_revoked(&self, instances: &HashSet<usize>, since: Instant, user: usize, device: usize) -> bool {
        let device_id = self.device_id(device);
        instances.iter().any(|instance| {
            let revocations = self.pair.server(*instance).dispatcher().revocations();
            revocations.since(since, self.app.app_id, &self.users[user], &device_id)
        })
    }
}
