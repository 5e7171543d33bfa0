//! `rouse serve`.

use secrecy::ExposeSecret;

use super::run::{Store, master_key};
use super::{Outcome, stop_signal};
use crate::clock::Clock;
use crate::config::Settings;
use crate::embedded::Mode;
use crate::server::{Server, StartOptions};

/// Runs the server until Ctrl-C or SIGTERM.
pub(super) async fn run(settings: &Settings) -> Outcome {
    let store = Store::open(settings, Mode::Serve).await?;
    let result = serve(settings, &store).await;
    store.close().await;
    result
}

async fn serve(settings: &Settings, store: &Store) -> Outcome {
    let options = StartOptions {
        database_url: store.url.clone(),
        master_key: master_key(settings)?,
        is_sole_user: store.embedded.is_some(),
        clock: Clock::from_wall(),
    };
    // In a task, so that a signal during the start is not lost.
    let stop = tokio::spawn(stop_signal());
    let server = Server::start(settings, options).await?;
    if let Some(key) = server.first_key() {
        use std::io::Write as _;
        let notice =
            format!("\nFirst start: this is the admin key. It is shown only now.\n\n    {}\n\n", key.expose_secret());
        std::io::stderr().write_all(notice.as_bytes())?;
    }
    tracing::info!(address = %server.address(), "ready");
    stop.await??;
    tracing::info!("stopping");
    server.stop().await;
    Ok(())
}
