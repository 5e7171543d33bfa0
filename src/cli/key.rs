//! `rouse key create`: an API key without an API, for the first one or a lost one.

use clap::{Args, Subcommand, ValueEnum};
use secrecy::ExposeSecret;

use super::run::Store;
use super::{Outcome, print};
use crate::MIGRATOR;
use crate::clock::Clock;
use crate::config::Settings;
use crate::domain::id::AppId;
use crate::domain::text::Name;
use crate::embedded::Mode;
use crate::server::create_key;
use crate::store::Database;
use crate::store::api_keys::Scope;

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Make a key and print it; a running server on the same database of your own knows it at once
    Create(CreateArgs),
}

#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// What it may do
    #[arg(long, value_enum)]
    scope: ScopeArgument,
    /// The one app it is for; needed for `chat`
    #[arg(long, value_name = "APP_ID")]
    app: Option<i64>,
    /// To tell keys apart
    #[arg(long, default_value = "made on the command line")]
    name: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ScopeArgument {
    Chat,
    Viewer,
    Admin,
}

impl From<ScopeArgument> for Scope {
    fn from(argument: ScopeArgument) -> Self {
        match argument {
            ScopeArgument::Chat => Self::Chat,
            ScopeArgument::Viewer => Self::Viewer,
            ScopeArgument::Admin => Self::Admin,
        }
    }
}

pub(super) async fn run(settings: &Settings, command: KeyCommand) -> Outcome {
    let KeyCommand::Create(arguments) = command;
    let name = Name::new(arguments.name).map_err(|message| format!("--name {message}"))?;
    let scope = Scope::from(arguments.scope);
    if scope == Scope::Chat && arguments.app.is_none() {
        return Err("a chat key is for one app: give --app".into());
    }
    let store = Store::open(settings, Mode::Serve).await?;
    let result = async {
        let database = Database::open(store.url.expose_secret(), settings.database.api_connections)?;
        MIGRATOR.run(&database.api).await?;
        let app = arguments.app.map(AppId);
        let key = create_key(&database, &Clock::from_wall(), &name, scope, app).await;
        database.close().await;
        key
    };
    let result = result.await;
    store.close().await;
    print(&format!("{}\n", result?.expose_secret()))?;
    Ok(())
}
