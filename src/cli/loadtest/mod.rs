//! `rouse loadtest`: the product under load, with a private Postgres, a server, stand-ins for the vendors and a client, all on
//! this machine, over real HTTP. What each figure means: docs/performance.md.
//!
//! In this order: simulator, server, accounts and devices, the raw sender, the load, what was lost.

mod control;
mod course;
mod curve;
mod generator;
mod home;
mod lag;
mod machine;
mod mix;
mod options;
mod pacer;
mod process;
mod programs;
mod raw;
mod report;
mod script;
mod setup;
mod tally;
mod wire;

use std::io::Write as _;

use sqlx::Connection as _;

use super::{Outcome, print, stop_signal};
use crate::clock::Clock;
use crate::store::bulk;
use control::Control;
use course::Stage;
use home::Home;
use machine::Machine;
pub(super) use options::LoadtestArgs;
use programs::{Served, serve, simulate, variable};
use report::Report;

/// What the parts of a run answer.
type Fallible<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Why a run that came to its end failed.
#[derive(Debug, thiserror::Error)]
enum LoadtestError {
    #[error("{lost} lost")]
    Lost { lost: u64 },
    #[error("stopped by a signal")]
    Stopped,
    #[error("--devices must be at least {least} for this profile")]
    TooFewDevices { least: u32 },
}

/// Runs the load and prints the report. Whatever was started is stopped, and the directory goes, also at Ctrl-C.
pub(super) async fn run(args: LoadtestArgs) -> Outcome {
    let least = args.profile.size();
    if args.devices < least {
        return Err(LoadtestError::TooFewDevices { least }.into());
    }
    let home = Home::make()?;
    let report = tokio::select! {
        report = perform(&args, &home) => report?,
        signal = stop_signal() => {
            signal?;
            return Err(LoadtestError::Stopped.into());
        }
    };
    let text = match args.report {
        Some(options::ReportFormat::Json) => format!("{}\n", serde_json::to_string(&report)?),
        None => report.table()?,
    };
    print(&text)?;
    match report.lost() {
        0 => Ok(()),
        lost => Err(LoadtestError::Lost { lost }.into()),
    }
}

async fn perform(args: &LoadtestArgs, home: &Home) -> Fallible<Report> {
    let clock = Clock::from_wall();
    say("starting simulator, Postgres and server");
    let (simulator, mut variables) = simulate(home, args.vendor_latency_ms).await?;
    variables.extend(args.settings.iter().map(|(key, value)| (variable(key), value.clone())));
    let Served { program: server, address, key } = serve(home, &variables).await?;
    let control = Control::new(address, &key, &variables)?;
    let mut db = home.connect().await?;

    let mix = args.shares();
    setup::accounts(&control, args, &mix).await?;
    let seeded = setup::seed(&mut db, args, &mix, &clock).await?;
    let raw = match args.raw_time() {
        Some(time) => {
            say(&format!("raw sender for {} s", time.as_secs()));
            Some(raw::send(&mut db, home, &variables, args, simulator.pid(), time).await?)
        }
        None => None,
    };
    let stage = Stage {
        args,
        home,
        server: &server,
        simulator: &simulator,
        address,
        key: &key,
        control: &control,
        clock: &clock,
    };
    let course = course::run(&stage, &mut db).await?;
    let machine = Machine::read(bulk::version(&mut db).await?, &clock);
    db.close().await?;
    server.stop().await?;
    simulator.stop().await?;
    Ok(Report::new(args, seeded, raw, course, machine))
}

/// Tells how it goes, on standard error; nobody may be reading.
fn say(text: &str) {
    let _nobody_reads = std::io::stderr().lock().write_all(format!("loadtest: {text}\n").as_bytes());
}
