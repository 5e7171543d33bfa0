//! The app, its certificates, and the devices: all that is there before the load.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::PgConnection;

use super::control::Control;
use super::mix::Mix;
use super::options::{LoadtestArgs, Profile};
use super::script::APP;
use super::{Fallible, say};
use crate::clock::Clock;
use crate::domain::certificate::VendorKind;
use crate::domain::id::CertificateId;
use crate::simulator::ApnsKey;
use crate::store::bulk;

/// Devices, or deliveries, of one statement.
const CHUNK: u32 = 100_000;
/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// The certificate that is paused.
const PAUSED: CertificateId = CertificateId(1_000);
/// Above what any vendor takes: the benchmark is not about rate limits.
const RATE_LIMIT: u32 = 100_000;
const PACKAGE: &str = "com.example.load";

/// Makes the app and a certificate for each vendor, as an operator would.
pub(super) async fn accounts(control: &Control, args: &LoadtestArgs, mix: &Mix) -> Fallible<()> {
    let settings = args.app_settings.clone().unwrap_or_else(|| json!({}));
    control.post("/v1/apps", &json!({"app_id": APP.0, "name": "load", "settings": settings})).await?;
    let path = format!("/v1/apps/{APP}/certificates");
    for (vendor, id) in mix.certificates() {
        control.post(&path, &certificate(vendor, id)?).await?;
    }
    if args.paused_backlog {
        control.post(&path, &certificate(VendorKind::Xiaomi, PAUSED)?).await?;
        control.post(&format!("{path}/{PAUSED}:pause"), &json!({})).await?;
    }
    Ok(())
}

/// A certificate that a stand-in which knows no app takes.
fn certificate(vendor: VendorKind, id: CertificateId) -> Fallible<Value> {
    let mut body = match vendor {
        VendorKind::Apns => {
            let (key_id, team_id) = ("LOADKEY001", "LOADTEAM01");
            let key = ApnsKey::generate(key_id, team_id)?;
            json!({"topic": PACKAGE, "environment": "production", "key_id": key_id, "team_id": team_id,
                "key_p8": key.p8_pem()})
        }
        VendorKind::Vivo => json!({"package_name": PACKAGE, "app_id": "1001", "app_key": "load", "app_secret": "load"}),
        VendorKind::Oppo => json!({"package_name": PACKAGE, "app_key": "load", "master_secret": "load",
            "defaults": {"category": "IM"}}),
        _ => json!({"package_name": PACKAGE, "app_id": "1001", "app_secret": "load"}),
    };
    body["vendor"] = vendor.as_str().into();
    body["certificate_id"] = id.0.into();
    body["rate_limit"] = RATE_LIMIT.into();
    Ok(body)
}

/// What was made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seeded {
    pub(super) devices: u64,
    pub(super) backlog: u64,
    pub(super) took: Duration,
}

/// Makes devices and waiting deliveries, straight in the database.
pub(super) async fn seed(db: &mut PgConnection, args: &LoadtestArgs, mix: &Mix, clock: &Clock) -> Fallible<Seeded> {
    let begin = Instant::now();
    bulk::relax(db).await?;
    let (shares, is_group) = (mix.columns(), args.profile == Profile::Group);
    let mut devices = 0;
    let mut told = Progress::of("devices", args.devices);
    for range in chunks(args.devices) {
        devices += bulk::seed_devices(&mut *db, APP, range, &shares, is_group, clock.now()).await?;
        told.tell(range.1);
    }
    let mut backlog = 0;
    let mut told = Progress::of("waiting deliveries", args.backlog);
    let paused = args.paused_backlog.then_some(PAUSED);
    // One time for all: their ids are made of it.
    let now = clock.now();
    for range in chunks(args.backlog) {
        backlog += bulk::seed_backlog(&mut *db, APP, range, args.devices.into(), paused, now).await?;
        told.tell(range.1);
    }
    bulk::settle(db).await?;
    let seeded = Seeded { devices, backlog, took: begin.elapsed() };
    say(&format!("{devices} devices and {backlog} waiting deliveries in {:.1} s", seeded.took.as_secs_f64()));
    Ok(seeded)
}

/// 1..=`count` in parts.
fn chunks(count: u32) -> impl Iterator<Item = (i64, i64)> {
    let starts = (1..=count).step_by(CHUNK as usize);
    starts.map(move |first| (first.into(), first.saturating_add(CHUNK - 1).min(count).into()))
}

struct Progress {
    what: &'static str,
    all: u32,
    told: Instant,
}

impl Progress {
    fn of(what: &'static str, all: u32) -> Self {
        Self { what, all, told: Instant::now() }
    }

    fn tell(&mut self, done: i64) {
        if self.told.elapsed() >= TELL_EVERY {
            say(&format!("{done} of {} {}", self.all, self.what));
            self.told = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vendor::registry::supported;

    #[test]
    fn everything_is_seeded_once() {
        assert_eq!(chunks(0).count(), 0);
        assert_eq!(chunks(200_001).collect::<Vec<_>>(), [(1, 100_000), (100_001, 200_000), (200_001, 200_001)]);
    }

    #[test]
    fn every_vendor_has_a_certificate_that_is_taken() {
        for vendor in supported() {
            let mut body = certificate(vendor, CertificateId(1)).unwrap();
            let fields = body.as_object_mut().unwrap();
            for common in ["vendor", "certificate_id", "rate_limit"] {
                assert!(fields.remove(common).is_some());
            }
            let read = crate::vendor::registry::read_account(vendor, fields.clone(), chrono::DateTime::UNIX_EPOCH);
            assert!(read.is_ok(), "{vendor}: {:?}", read.err());
        }
    }
}
