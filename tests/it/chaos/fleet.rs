//! Several servers on one database, with the simulated vendors that the test process owns.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rouse::simulator::{Latency, XiaomiSimulator};
use serde_json::{Value, json};
use sqlx::PgPool;

use super::checker::{Verdict, check};
use super::load::{Load, Record, Target};
use crate::program::Program;
use crate::world::{APP, CERTIFICATE, PACKAGE, SECRET, client, merged, vendor};

const USERS: u64 = 64;
pub(crate) const CALLS_IN_FLIGHT: u64 = 16;
pub(crate) const SETTINGS: [(&str, &str); 3] =
    [("DISPATCH__CALLS_IN_FLIGHT", "16"), ("DISPATCH__SWEEP_INTERVAL_MS", "50"), ("VENDORS__CALL_TIMEOUT_MS", "5000")];

/// See the module.
pub(crate) struct Fleet {
    pub(crate) servers: Vec<Option<Program>>,
    pub(crate) addresses: Arc<Mutex<Vec<SocketAddr>>>,
    pub(crate) key: String,
    pub(crate) vendor: XiaomiSimulator,
    /// For the checker: a way to the database that no fault touches.
    pub(crate) pool: PgPool,
    urls: Vec<String>,
    settings: Vec<(String, String)>,
    environment: Vec<(String, String)>,
}

impl Fleet {
    /// So many servers on the test's database.
    pub(crate) async fn start(pool: &PgPool, count: usize) -> Self {
        let url = crate::world::database_url(pool);
        Self::with(pool.clone(), vec![url; count], &[], &[]).await
    }

    /// One server for each of these database URLs; the pool reaches the same database.
    pub(crate) async fn with(
        pool: PgPool,
        urls: Vec<String>,
        settings: &[(&str, &str)],
        environment: &[(&str, &str)],
    ) -> Self {
        let vendor = vendor().await;
        vendor.set_latency(Latency { min_ms: 5, max_ms: 40 });
        let own = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let mut all = own(&SETTINGS);
        all.push(("VENDORS__XIAOMI__CN".to_owned(), vendor.url()));
        all.extend(own(settings));
        let mut fleet = Self {
            servers: Vec::new(),
            addresses: Arc::default(),
            key: String::new(),
            vendor,
            pool,
            urls,
            settings: all,
            environment: own(environment),
        };
        for index in 0..fleet.urls.len() {
            let program = fleet.launch(index).await;
            if let Some(key) = &program.key {
                fleet.key.clone_from(key);
            }
            fleet.addresses.lock().unwrap().push(program.address);
            fleet.servers.push(Some(program));
        }
        fleet.set_up().await;
        fleet
    }

    async fn launch(&self, index: usize) -> Program {
        let settings = self.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let environment = self.environment.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        Program::launch(&self.urls[index], settings, environment).await
    }

    pub(crate) fn server(&self, index: usize) -> &Program {
        self.servers[index].as_ref().unwrap()
    }

    pub(crate) fn address(&self, index: usize) -> SocketAddr {
        self.server(index).address
    }

    /// SIGKILL.
    pub(crate) async fn kill(&mut self, index: usize) {
        self.servers[index].take().unwrap().kill().await;
    }

    /// Starts a killed one again; it is asked at its new address.
    pub(crate) async fn revive(&mut self, index: usize) {
        let program = self.launch(index).await;
        self.addresses.lock().unwrap()[index] = program.address;
        self.servers[index] = Some(program);
    }

    /// Calls one server with the admin key.
    pub(crate) async fn call(&self, index: usize, method: reqwest::Method, path: &str, body: &Value) -> (u16, Value) {
        let url = format!("http://{}{path}", self.address(index));
        let answer = client().request(method, url).bearer_auth(&self.key).json(body).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or_default())
    }

    async fn post(&self, path: &str, body: &Value) {
        let (status, answer) = self.call(0, reqwest::Method::POST, path, body).await;
        assert!((200..300).contains(&status), "{path}: {answer}");
    }

    /// The status of `/readyz`; 0: no answer.
    pub(crate) async fn ready(&self, index: usize) -> u16 {
        let url = format!("http://{}/readyz", self.address(index));
        client().get(url).send().await.map_or(0, |answer| answer.status().as_u16())
    }

    /// Waits until `/readyz` of a server answers this; tells how long it took.
    pub(crate) async fn until_ready_is(&self, index: usize, status: u16, within: Duration) -> Duration {
        let since = Instant::now();
        while self.ready(index).await != status {
            assert!(since.elapsed() < within, "server {index} is not {status}: {:?}", self.server(index).log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        since.elapsed()
    }

    /// A metric of a server, all its label sets added up.
    pub(crate) async fn metric(&self, index: usize, name: &str) -> f64 {
        let url = format!("http://{}/metrics", self.address(index));
        let text = client().get(url).send().await.unwrap().text().await.unwrap();
        let is_it = |line: &&str| line.starts_with(name) && line[name.len()..].starts_with(['{', ' ']);
        text.lines().filter(is_it).filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
    }

    /// Take-overs by anybody who lives.
    pub(crate) async fn take_overs(&self) -> f64 {
        let mut sum = 0.0;
        for index in 0..self.servers.len() {
            if self.servers[index].is_some() {
                sum += self.metric(index, "push_take_overs_total").await;
            }
        }
        sum
    }

    async fn set_up(&self) {
        self.post("/v1/apps", &json!({"app_id": APP, "name": "chat"})).await;
        let certificate = json!({"vendor": "xiaomi", "certificate_id": CERTIFICATE, "package_name": PACKAGE,
            "app_id": "2882303761500000001", "app_secret": SECRET, "rate_limit": 100_000});
        self.post(&format!("/v1/apps/{APP}/certificates"), &certificate).await;
        self.phones(APP, CERTIFICATE, "user-", USERS, "android").await;
    }

    /// Killed phones for users `{prefix}0` and so on, one each.
    pub(crate) async fn phones(&self, app: i64, certificate: i64, prefix: &str, users: u64, platform: &str) {
        self.phones_with(app, certificate, prefix, users, platform, |user| token_of(prefix, user, platform)).await;
    }

    /// The same with tokens in the vendor's own shape.
    pub(crate) async fn phones_with(
        &self,
        app: i64,
        certificate: i64,
        prefix: &str,
        users: u64,
        platform: &str,
        token: impl Fn(u64) -> String,
    ) {
        let now_ms = self.database_now_ms().await;
        let events: Vec<Value> = (0..users)
            .flat_map(|user| {
                let event = |kind: &str| {
                    json!({"type": kind, "user_id": format!("{prefix}{user}"), "platform": platform,
                        "device_id": format!("phone-{prefix}{user}"), "event_time": now_ms})
                };
                let token = json!({"certificate_id": certificate, "token": token(user)});
                let login = merged(event("login"), token);
                [login, event("disconnect")]
            })
            .collect();
        self.post(&format!("/v1/apps/{app}/session-events"), &json!({"events": events})).await;
    }

    /// The servers follow the database's clock.
    async fn database_now_ms(&self) -> i64 {
        let now: chrono::DateTime<chrono::Utc> =
            sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&self.pool).await.unwrap();
        now.timestamp_millis()
    }

    pub(crate) fn target(&self) -> Target {
        Target::new(Arc::clone(&self.addresses), &self.key, "user-", USERS)
    }

    pub(crate) fn load(&self, name: &str, per_second: u64) -> Load {
        Load::start(&self.target(), name, per_second)
    }

    pub(crate) async fn check(&self, record: &Record) -> Verdict {
        check(&self.pool, &[&self.vendor], record).await
    }

    /// The last log lines of all that live, for the message of a test that fails.
    pub(crate) fn logs(&self) -> Vec<Vec<String>> {
        self.servers.iter().flatten().map(Program::log).collect()
    }
}

fn token_of(prefix: &str, user: u64, platform: &str) -> String {
    if platform == "ios" { format!("{user:064x}") } else { format!("token-{prefix}{user}") }
}
