//! Three servers, six vendors, a constant load, and one fault after the other, for as long as asked: `./dev soak MINUTES`.
//! Without a wish it runs for three faults, so that it cannot rot.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::Method;
use rouse::simulator::{ApnsKey, ApnsSimulator, ApnsTeam, ApnsWorld, Controls, Fault, Latency, Misbehaviour};
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::PgPool;

use super::checker::{check, on_the_wire};
use super::fleet::{CALLS_IN_FLIGHT, Fleet};
use super::link::Link;
use super::load::{Load, Record, Target};
use super::postgres::Postgres;
use super::say;
use crate::apns::CaFile;
use crate::conformance::{Candidate, Huawei, Meizu, Oppo, Vivo};
use crate::world::{APP, CERTIFICATE, merged};

const SERVERS: usize = 3;
const APNS_CERTIFICATE: i64 = 20_001;
const TOPIC: &str = "com.example.chat";
/// Messages a second to Xiaomi and to APNs, and to each of the others.
const RATE: u64 = 50;
const RATE_OF_OTHERS: u64 = 10;
const USERS_OF_OTHERS: u64 = 16;
/// Lanes: one for each vendor.
const VENDORS: u64 = 6;
const LATENCY_OF_OTHERS: Latency = Latency { min_ms: 10, max_ms: 80 };
/// Between two samples.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// What may happen. The fleet is whole again when it is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Trouble {
    Kill,
    Freeze,
    DatabaseRestart,
    DatabaseCrash,
    Partition,
    SlowLink,
    XiaomiDown,
    XiaomiGarbage,
    ApnsResets,
    ApnsLeaves,
    AccessTokensEnd,
    OthersDown,
    OthersSlow,
    CertificateEdit,
    Nothing,
}

const TROUBLES: [Trouble; 15] = [
    Trouble::Kill,
    Trouble::ApnsLeaves,
    Trouble::AccessTokensEnd,
    Trouble::OthersDown,
    Trouble::OthersSlow,
    Trouble::CertificateEdit,
    Trouble::Freeze,
    Trouble::DatabaseRestart,
    Trouble::DatabaseCrash,
    Trouble::Partition,
    Trouble::SlowLink,
    Trouble::XiaomiDown,
    Trouble::XiaomiGarbage,
    Trouble::ApnsResets,
    Trouble::Nothing,
];

/// How everything stood at one moment.
#[derive(Debug, Clone, Serialize)]
struct Sample {
    at_s: f64,
    /// The largest server.
    rss_mb: f64,
    /// The queue with its indexes.
    queue_mb: f64,
    /// Everything in the database.
    database_mb: f64,
    waiting: i64,
    /// Written to the log since the beginning.
    wal_mb: f64,
    /// Received by phones since the beginning.
    received: u64,
}

/// What one stretch of the run came to.
#[derive(Debug, Clone, Serialize)]
struct Stretch {
    trouble: Trouble,
    accepted: usize,
    lost: usize,
    duplicates: u64,
    longest_s: f64,
    settled_s: f64,
}

#[derive(Debug, Serialize)]
struct Report {
    seed: u64,
    minutes: f64,
    servers: usize,
    accepted: usize,
    lost: usize,
    duplicates: u64,
    stretches: Vec<Stretch>,
    /// Medians of the first and the last third.
    rss_mb: [f64; 2],
    queue_mb: [f64; 2],
    wal_bytes_per_push: [f64; 2],
    database_bytes_per_push: f64,
    samples: Vec<Sample>,
}

struct Soak {
    postgres: Postgres,
    link: Link,
    fleet: Fleet,
    apns: ApnsSimulator,
    others: Vec<Other>,
    _ca: CaFile,
}

/// A vendor besides Xiaomi and APNs.
struct Other {
    kind: &'static str,
    certificate: i64,
    body: Value,
    settings: Vec<(&'static str, String)>,
    token: fn(usize) -> String,
    controls: Controls,
    /// Makes all access tokens unknown.
    revoke: Box<dyn Fn() + Send + Sync>,
}

impl Other {
    async fn start<C: Candidate + Send + Sync + 'static>(certificate: i64) -> Self {
        let vendor = C::start().await;
        let controls = vendor.controls().clone();
        controls.set_latency(LATENCY_OF_OTHERS);
        Self {
            kind: C::KIND,
            certificate,
            body: vendor.certificate(),
            settings: vendor.settings(),
            token: C::token,
            controls,
            // Keeps the stand-in alive too.
            revoke: Box::new(move || vendor.revoke_access_tokens()),
        }
    }

    /// Users of its own.
    fn prefix(&self) -> String {
        format!("{}-", self.kind)
    }

    async fn set_up(&self, fleet: &Fleet) {
        let body = merged(json!({"vendor": self.kind, "certificate_id": self.certificate}), self.body.clone());
        let path = format!("/v1/apps/{APP}/certificates");
        assert_eq!(fleet.call(0, Method::POST, &path, &body).await.0, 201);
        let token = |user: u64| (self.token)(usize::try_from(user).unwrap());
        fleet.phones_with(APP, self.certificate, &self.prefix(), USERS_OF_OTHERS, "android", token).await;
    }

    fn load(&self, fleet: &Fleet) -> Load {
        let target = Target { prefix: self.prefix(), users: USERS_OF_OTHERS, ..fleet.target() };
        Load::start(&target, self.kind, RATE_OF_OTHERS)
    }
}

impl Soak {
    async fn start() -> Self {
        let key = ApnsKey::generate("ABC123DEFG", "TEAM123456").unwrap();
        let team = ApnsTeam { id: "TEAM123456".to_owned(), topics: vec![TOPIC.to_owned()] };
        let world = ApnsWorld {
            teams: vec![team],
            keys: vec![key.clone()],
            latency: Latency { min_ms: 20, max_ms: 60 },
            ..ApnsWorld::default()
        };
        let apns = ApnsSimulator::start(SocketAddr::from(([127, 0, 0, 1], 0)), world).await.unwrap();
        let ca = CaFile::of(&apns);
        let postgres = Postgres::start().await;
        let link = Link::to(postgres.port).await;
        let mut urls = vec![postgres.url(); SERVERS - 1];
        urls.push(Postgres::url_at(link.port));
        let pool = PgPool::connect_lazy(&postgres.url()).unwrap();
        let url = apns.url();
        let others = vec![
            Other::start::<Huawei>(20_002).await,
            Other::start::<Meizu>(20_003).await,
            Other::start::<Vivo>(20_004).await,
            Other::start::<Oppo>(20_005).await,
        ];
        let mut settings =
            vec![("VENDORS__APNS__PRODUCTION", url.as_str()), ("VENDORS__EXTRA_CA_FILE", ca.0.to_str().unwrap())];
        settings.extend(others.iter().flat_map(|other| &other.settings).map(|(name, url)| (*name, url.as_str())));
        let fleet = Fleet::with(pool, urls, &settings, &[]).await;
        let certificate = json!({"vendor": "apns", "certificate_id": APNS_CERTIFICATE, "topic": TOPIC,
            "environment": "production", "key_p8": key.p8_pem(), "key_id": "ABC123DEFG", "team_id": "TEAM123456"});
        let path = format!("/v1/apps/{APP}/certificates");
        assert_eq!(fleet.call(0, Method::POST, &path, &certificate).await.0, 201);
        fleet.phones(APP, APNS_CERTIFICATE, "ios-", 64, "ios").await;
        for other in &others {
            other.set_up(&fleet).await;
        }
        Self { postgres, link, fleet, apns, others, _ca: ca }
    }

    /// Lets it happen, and waits until the fleet is whole again.
    async fn suffer(&mut self, trouble: Trouble, server: usize, edits: u32) {
        let seconds = Duration::from_secs;
        match trouble {
            Trouble::Kill => {
                self.fleet.kill(server).await;
                tokio::time::sleep(seconds(7)).await;
                self.fleet.revive(server).await;
            }
            Trouble::Freeze => {
                self.fleet.server(server).freeze();
                tokio::time::sleep(seconds(8)).await;
                self.fleet.server(server).thaw();
            }
            Trouble::DatabaseRestart | Trouble::DatabaseCrash => {
                self.postgres.down(if trouble == Trouble::DatabaseCrash { "immediate" } else { "fast" });
                tokio::time::sleep(seconds(6)).await;
                self.postgres.up().await;
            }
            Trouble::Partition => {
                self.link.swallow();
                tokio::time::sleep(seconds(9)).await;
                self.link.heal();
            }
            Trouble::SlowLink => {
                self.link.delay(Duration::from_millis(200));
                tokio::time::sleep(seconds(8)).await;
                self.link.delay(Duration::ZERO);
            }
            Trouble::XiaomiDown | Trouble::XiaomiGarbage => {
                let garbage = Misbehaviour::Text("<html>busy</html>".to_owned());
                self.fleet.vendor.fault(if trouble == Trouble::XiaomiDown { Misbehaviour::Reset } else { garbage });
                tokio::time::sleep(seconds(6)).await;
                self.fleet.vendor.clear_faults();
                self.fleet.vendor.set_latency(Latency { min_ms: 5, max_ms: 40 });
            }
            Trouble::ApnsResets => {
                for _ in 0..6 {
                    self.apns.reset_connections();
                    self.apns.fault(Fault::once(Misbehaviour::RefuseStream));
                    tokio::time::sleep(seconds(1)).await;
                }
            }
            Trouble::ApnsLeaves => {
                self.apns.leave_after(40, Some("Shutdown"));
                tokio::time::sleep(seconds(6)).await;
                self.apns.leave_after(0, None);
            }
            Trouble::AccessTokensEnd => {
                for _ in 0..6 {
                    self.others.iter().for_each(|other| (other.revoke)());
                    tokio::time::sleep(seconds(1)).await;
                }
            }
            Trouble::OthersDown => {
                let down =
                    Misbehaviour::Status { status: 503, body: "<html>busy</html>".to_owned(), retry_after: None };
                self.others.iter().for_each(|other| other.controls.fault(down.clone()));
                tokio::time::sleep(seconds(6)).await;
                self.calm_others();
            }
            Trouble::OthersSlow => {
                self.others.iter().for_each(|other| other.controls.set_latency(Latency { min_ms: 700, max_ms: 1_500 }));
                self.others.iter().for_each(|other| (other.revoke)());
                tokio::time::sleep(seconds(8)).await;
                self.calm_others();
            }
            Trouble::CertificateEdit => {
                let path = format!("/v1/apps/{APP}/certificates/{CERTIFICATE}");
                let edit = json!({"name": format!("edit {edits}")});
                assert_eq!(self.fleet.call(server, Method::PATCH, &path, &edit).await.0, 200);
            }
            Trouble::Nothing => tokio::time::sleep(seconds(5)).await,
        }
        for index in 0..SERVERS {
            self.fleet.until_ready_is(index, 200, seconds(20)).await;
        }
    }

    fn calm_others(&self) {
        for other in &self.others {
            other.controls.clear_faults();
            other.controls.set_latency(LATENCY_OF_OTHERS);
        }
    }

    /// All six.
    fn controls(&self) -> Vec<&Controls> {
        let mut all: Vec<&Controls> = vec![&self.fleet.vendor, &self.apns];
        all.extend(self.others.iter().map(|other| &other.controls));
        all
    }

    async fn sample(&self, began: Instant, wal_at_start: f64) -> Option<Sample> {
        let sizes: (f64, f64, i64, f64) = sqlx::query_as(
            "SELECT pg_total_relation_size('deliveries')::float8, pg_database_size(current_database())::float8,
                 (SELECT count(*) FROM deliveries), pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::float8",
        )
        .fetch_one(&self.fleet.pool)
        .await
        .ok()?;
        let mb = |bytes: f64| (bytes / 1024.0 / 102.4).round() / 10.0;
        let servers = self.fleet.servers.iter().flatten();
        Some(Sample {
            at_s: began.elapsed().as_secs_f64().round(),
            rss_mb: servers.map(crate::program::Program::rss_mb).fold(0.0, f64::max),
            queue_mb: mb(sizes.0),
            database_mb: mb(sizes.1),
            waiting: sizes.2,
            wal_mb: mb(sizes.3 - wal_at_start),
            received: self.controls().into_iter().map(Controls::received_total).sum(),
        })
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// The median of the first and of the last third.
fn thirds(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> [f64; 2] {
    let third = samples.len() / 3;
    let round = |value: f64| (value * 10.0).round() / 10.0;
    [&samples[..third.max(1)], &samples[samples.len() - third.max(1)..]]
        .map(|part| round(median(part.iter().map(&of).collect())))
}

fn wal_per_push(samples: &[Sample]) -> f64 {
    let (Some(first), Some(last)) = (samples.first(), samples.last()) else { return 0.0 };
    let pushes = last.received.saturating_sub(first.received).max(1);
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let pushes = pushes as f64;
    ((last.wal_mb - first.wal_mb) * 1024.0 * 1024.0 / pushes).round()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn soak() {
    let minutes: Option<f64> = std::env::var("ROUSE_SOAK_MINUTES").ok().map(|text| text.parse().unwrap());
    let seed: u64 =
        std::env::var("ROUSE_SOAK_SEED").ok().map_or_else(|| rand::rng().random(), |text| text.parse().unwrap());
    say(&format!("soak: seed {seed} (ROUSE_SOAK_SEED repeats the order of the faults)"));
    let mut dice = StdRng::seed_from_u64(seed);
    let mut soak = Soak::start().await;
    let began = Instant::now();
    let is_over = |rounds: usize| match minutes {
        Some(minutes) => began.elapsed().as_secs_f64() >= minutes * 60.0,
        None => rounds >= 3,
    };
    let ios = Target { prefix: "ios-".to_owned(), ..soak.fleet.target() };
    let mut loads = vec![Load::start(&soak.fleet.target(), "android", RATE), Load::start(&ios, "ios", RATE)];
    loads.extend(soak.others.iter().map(|other| other.load(&soak.fleet)));
    let wal_at_start: f64 = sqlx::query_scalar("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::float8")
        .fetch_one(&soak.fleet.pool)
        .await
        .unwrap();
    let (mut samples, mut stretches, mut duplicates_before) = (Vec::new(), Vec::new(), 0);
    let mut rounds = 0;
    while !is_over(rounds) {
        // The short form always meets the same three.
        let trouble =
            if minutes.is_some() { TROUBLES[dice.random_range(0..TROUBLES.len())] } else { TROUBLES[rounds % 3] };
        rounds += 1;
        soak.suffer(trouble, dice.random_range(0..SERVERS), u32::try_from(rounds).unwrap()).await;
        let calm_until =
            Instant::now() + if minutes.is_some() { Duration::from_secs(8) } else { Duration::from_secs(3) };
        while Instant::now() < calm_until {
            tokio::time::sleep(SAMPLE_EVERY).await;
            samples.extend(soak.sample(began, wal_at_start).await);
        }
        let record = taken(&loads);
        let stretch = judge(&soak, trouble, &record, &mut duplicates_before).await;
        stretches.push(stretch);
    }
    let mut last = Record::default();
    for load in loads {
        last.accepted.extend(load.finish().await.accepted);
    }
    stretches.push(judge(&soak, Trouble::Nothing, &last, &mut duplicates_before).await);
    report(seed, began, samples, stretches);
}

fn taken(loads: &[Load]) -> Record {
    let mut all = Record::default();
    for load in loads {
        let record = load.take();
        all.accepted.extend(record.accepted);
        all.news.extend(record.news);
        all.without_retry_after += record.without_retry_after;
    }
    all
}

/// Checks what was accepted until now, while the load goes on.
async fn judge(soak: &Soak, trouble: Trouble, record: &Record, duplicates_before: &mut u64) -> Stretch {
    let mut verdict = check(&soak.fleet.pool, &soak.controls(), record).await;
    verdict.duplicates -= *duplicates_before;
    *duplicates_before += verdict.duplicates;

    verdict.insist(&format!("soak: {trouble:?}"), on_the_wire(CALLS_IN_FLIGHT * VENDORS));
    assert_eq!(record.without_retry_after, 0);
    Stretch {
        trouble,
        accepted: verdict.accepted,
        lost: verdict.lost.len(),
        duplicates: verdict.duplicates,
        longest_s: (verdict.longest.as_secs_f64() * 10.0).round() / 10.0,
        settled_s: (verdict.settled_in.as_secs_f64() * 10.0).round() / 10.0,
    }
}

fn report(seed: u64, began: Instant, samples: Vec<Sample>, stretches: Vec<Stretch>) {
    let third = samples.len() / 3;
    let received = samples.last().map_or(1, |sample| sample.received.max(1));
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let database_bytes_per_push =
        samples.last().zip(samples.first()).map_or(0.0, |(last, first)| last.database_mb - first.database_mb)
            * 1_048_576.0
            / received as f64;
    let report = Report {
        seed,
        minutes: (began.elapsed().as_secs_f64() / 6.0).round() / 10.0,
        servers: SERVERS,
        accepted: stretches.iter().map(|stretch| stretch.accepted).sum(),
        lost: stretches.iter().map(|stretch| stretch.lost).sum(),
        duplicates: stretches.iter().map(|stretch| stretch.duplicates).sum(),
        rss_mb: thirds(&samples, |sample| sample.rss_mb),
        queue_mb: thirds(&samples, |sample| sample.queue_mb),
        wal_bytes_per_push: [
            wal_per_push(&samples[..third.max(2)]),
            wal_per_push(&samples[samples.len() - third.max(2)..]),
        ],
        database_bytes_per_push: database_bytes_per_push.round(),
        stretches,
        samples,
    };
    let [rss, queue, wal] = [report.rss_mb, report.queue_mb, report.wal_bytes_per_push];
    say(&format!(
        "soak: {} min, {} servers: {} accepted, {} lost, {} duplicates; first and last third: memory {} and {} MiB, queue \
         {} and {} MiB, log {} and {} bytes a push; the database grows by {} bytes a push (the trace)",
        report.minutes,
        SERVERS,
        report.accepted,
        report.lost,
        report.duplicates,
        rss[0],
        rss[1],
        queue[0],
        queue[1],
        wal[0],
        wal[1],
        report.database_bytes_per_push
    ));
    if let Ok(path) = std::env::var("ROUSE_SOAK_REPORT") {
        std::fs::write(path, serde_json::to_string_pretty(&report).unwrap()).unwrap();
    }
    if report.minutes >= 5.0 {
        assert!(rss[1] <= rss[0] * 1.3 + 8.0, "memory grows: {rss:?}");
        assert!(queue[1] <= queue[0] * 2.0 + 8.0, "the queue's table grows: {queue:?}");
        assert!(wal[1] <= wal[0] * 1.5, "the log grows: {wal:?}");
    }
}
