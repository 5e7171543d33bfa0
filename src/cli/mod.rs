//! The command line: one file per command, and the only place that puts parts together for a process.

mod config;
mod demo;
mod key;
mod loadtest;
mod migrate;
mod openapi;
mod run;
mod serve;
mod simulate;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::Settings;
use crate::telemetry;

/// What a command can end with.
type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// Rouse wakes the phone of a user whose app was killed.
#[derive(Debug, Parser)]
#[command(name = "rouse", version, about, max_term_width = 100)]
struct Arguments {
    /// Settings beyond the defaults, as TOML; `ROUSE_SECTION__KEY` variables beat it
    #[arg(long, global = true, value_name = "FILE", env = crate::config::CONFIG_FILE_VARIABLE)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server
    Serve,
    /// Bring the database's schema up to date, and exit
    Migrate,
    /// Run the server with simulated vendors and a little world of apps, users and messages
    Demo(demo::DemoArgs),
    /// Run stand-in vendor servers
    Simulate(Box<simulate::SimulateArgs>),
    /// Measure the server under load, with a database, a server and simulated vendors of its own
    Loadtest(Box<loadtest::LoadtestArgs>),
    /// Work with API keys
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Print the OpenAPI document
    Openapi,
    /// Look at the settings
    #[command(subcommand)]
    Config(config::ConfigCommand),
}

/// Runs the command the process was started with.
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    match runtime.block_on(execute(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&*error),
    }
}

async fn execute(arguments: Arguments) -> Outcome {
    // Commands that need no settings work without them.
    match arguments.command {
        Command::Openapi => return openapi::run(),
        Command::Simulate(options) => return simulate::run(*options).await.map_err(Into::into),
        Command::Loadtest(options) => return loadtest::run(*options).await,
        _ => {}
    }
    let mut settings = Settings::load(arguments.config.as_deref())?;
    if let Command::Config(command) = arguments.command {
        return config::run(&command, &settings);
    }
    if matches!(arguments.command, Command::Demo(_)) {
        demo::quieten(&mut settings.log);
    }
    telemetry::init_logs(&settings.log)?;
    for warning in settings.warnings() {
        tracing::warn!("{warning}");
    }
    match arguments.command {
        Command::Serve => serve::run(&settings).await,
        Command::Migrate => migrate::run(&settings).await,
        Command::Demo(options) => demo::run(settings, options).await,
        Command::Key(command) => key::run(&settings, command).await,
        Command::Openapi | Command::Simulate(_) | Command::Loadtest(_) | Command::Config(_) => Ok(()),
    }
}

/// Tells an error with its causes, each on a line of its own.
fn failed(error: &dyn std::error::Error) -> ExitCode {
    use std::fmt::Write as _;
    use std::io::Write as _;
    let mut text = format!("rouse: {error}\n");
    let mut source = error.source();
    while let Some(cause) = source {
        if !text.contains(&cause.to_string()) {
            let _infallible = writeln!(text, "  because: {cause}");
        }
        source = cause.source();
    }
    let _best_effort = std::io::stderr().write_all(text.as_bytes());
    ExitCode::FAILURE
}

/// Writes a text to standard output.
fn print(text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Resolves at Ctrl-C or SIGTERM.
async fn stop_signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result,
        _ = terminate.recv() => Ok(()),
    }
}
