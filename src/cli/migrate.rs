//! `rouse migrate`.

use secrecy::ExposeSecret;

use super::run::Store;
use super::{Outcome, print};
use crate::MIGRATOR;
use crate::config::Settings;
use crate::embedded::Mode;
use crate::store::Database;

/// Brings the schema up to date.
pub(super) async fn run(settings: &Settings) -> Outcome {
    let store = Store::open(settings, Mode::Serve).await?;
    let result = migrate(settings, &store).await;
    store.close().await;
    result
}

async fn migrate(settings: &Settings, store: &Store) -> Outcome {
    let database = Database::open(store.url.expose_secret(), settings.database.api_connections)?;
    MIGRATOR.run(&database.api).await?;
    database.close().await;
    print("the schema is up to date\n")?;
    Ok(())
}
