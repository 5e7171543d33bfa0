//! The server: wires the parts, starts and stops them in order. Used by the command line and by the tests.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::ListenerExt;
use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::api::{self, Api, FailedLogins, KeyUse, Parts};
use crate::clock::Clock;
use crate::config::Settings;
use crate::directory::Directory;
use crate::dispatcher::Dispatcher;
use crate::intake::Intake;
use crate::secrets::{Sealer, SecretError, api_key_hash, new_api_key};
use crate::sessions::ingest::Ingest;
use crate::store::Database;
use crate::store::api_keys::{ApiKey, Scope};
use crate::store::audit::AuditEvent;
use crate::vendor::http::HttpClientError;
use crate::vendor::registry::Registry;
use crate::{MIGRATOR, maintenance, sessions, signals, store, telemetry};

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the database is not usable: {0}")]
    Database(#[from] sqlx::Error),
    #[error("the schema cannot be brought up to date: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error(transparent)]
    Http(#[from] HttpClientError),
    #[error("metrics: {0}")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
}

/// What a server needs besides its settings.
pub struct StartOptions {
    pub database_url: SecretString,
    pub master_key: SecretString,
    /// No other process can use this database: what an earlier one left is taken over at once.
    pub is_sole_user: bool,
    pub clock: Clock,
}

/// A running server.
pub struct Server {
    address: SocketAddr,
    database: Database,
    dispatcher: Dispatcher,
    intake: Intake,
    directory: Arc<Directory>,
    clock: Clock,
    stop_deadline: Duration,
    stop_http: CancellationToken,
    http: tokio::task::JoinHandle<()>,
    stop_background: CancellationToken,
    background: TaskTracker,
    first_key: Option<SecretString>,
}

impl Server {
    /// Brings the schema up to date, starts everything and listens. Ready when it returns.
    /// # Errors
    /// See [`StartError`].
    pub async fn start(settings: &Settings, options: StartOptions) -> Result<Self, StartError> {
        telemetry::metrics::init()?;
        // Before anything is started that would have to be stopped when the port is taken. Callers wait in its backlog.
        let listen = |source| StartError::Listen { address: settings.server.listen, source };
        let listener = TcpListener::bind(settings.server.listen).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let database = Database::open(options.database_url.expose_secret(), settings.database.api_connections)?;
        MIGRATOR.run(&database.api).await?;
        maintenance::make_partitions(&database, &settings.retention).await?;
        let clock = options.clock;
        let asked = std::time::Instant::now();
        clock.set(store::partitions::database_now(&database.api).await?, asked);
        let first_key = first_admin_key(&database, &clock).await?;
        let sealer = Sealer::new(&options.master_key)?;
        let registry = Registry::new(&settings.vendors, clock.clone())?;
        let directory = Arc::new(Directory::new(database.clone(), registry, sealer));
        directory.refresh().await?;
        let host = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let dispatcher =
            Dispatcher::start(database.clone(), Arc::clone(&directory), clock.clone(), settings.dispatch.clone(), host)
                .await?;
        if options.is_sole_user {
            dispatcher.take_over_all().await?;
        }
        let stop_background = CancellationToken::new();
        let intake = Intake::start(
            database.clone(),
            Arc::clone(&directory),
            dispatcher.clone(),
            clock.clone(),
            &settings.intake,
            stop_background.clone(),
        );
        let key_use = Arc::new(KeyUse::default());
        let background = TaskTracker::new();
        background.spawn(signals::follow(
            database.clone(),
            Arc::clone(&directory),
            dispatcher.clone(),
            stop_background.clone(),
        ));
        background.spawn(maintenance::run(
            database.clone(),
            dispatcher.clone(),
            Arc::clone(&key_use),
            settings.retention.clone(),
            stop_background.clone(),
        ));
        background.spawn(sessions::walk::run(
            database.clone(),
            Arc::clone(&directory),
            dispatcher.clone(),
            clock.clone(),
            stop_background.clone(),
        ));
        let ingest = Ingest::start(
            database.clone(),
            Arc::clone(&directory),
            dispatcher.clone(),
            clock.clone(),
            &background,
            &stop_background,
        );
        let router = api::router(Api::new(Parts {
            database: database.clone(),
            directory: Arc::clone(&directory),
            dispatcher: dispatcher.clone(),
            intake: intake.clone(),
            ingest,
            clock: clock.clone(),
            failed_logins: Arc::new(FailedLogins::new(settings.security.failed_logins_per_minute)),
            key_use,
            request_timeout: Duration::from_secs(settings.server.request_timeout_s),
        }));
        let stop_http = CancellationToken::new();
        let http = tokio::spawn(serve(listener, router, stop_http.clone()));
        let stop_deadline = Duration::from_secs(settings.server.stop_deadline_s);
        Ok(Self {
            address,
            database,
            dispatcher,
            intake,
            directory,
            clock,
            stop_deadline,
            stop_http,
            http,
            stop_background,
            background,
            first_key,
        })
    }

    /// Where the API listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The admin key that this start made, because there was none: to be shown once.
    pub fn first_key(&self) -> Option<&SecretString> {
        self.first_key.as_ref()
    }

    /// The lanes behind the API.
    pub fn dispatcher(&self) -> &Dispatcher {
        &self.dispatcher
    }

    /// The server's clock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The server's pools.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// The cache of apps, certificates and keys.
    pub fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }

    /// Takes no more requests, answers those it has, finishes the calls in flight within the deadline, gives the rest back.
    pub async fn stop(self) {
        self.stop_http.cancel();
        if tokio::time::timeout(self.stop_deadline, self.http).await.is_err() {
            tracing::warn!("some requests were not answered in time");
        }
        self.stop_background.cancel();
        if tokio::time::timeout(Duration::from_secs(5), self.intake.finish()).await.is_err() {
            tracing::warn!("intake did not finish in time");
        }
        self.dispatcher.stop(self.stop_deadline).await;
        self.background.close();
        if tokio::time::timeout(Duration::from_secs(5), self.background.wait()).await.is_err() {
            tracing::warn!("background work did not stop in time");
        }
        self.database.close().await;
    }
}

async fn serve(listener: TcpListener, router: axum::Router, stop: CancellationToken) {
    let listener = listener.tap_io(|connection| {
        if let Err(error) = connection.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY not set");
        }
    });
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let served = axum::serve(listener, service).with_graceful_shutdown(async move { stop.cancelled().await }).await;
    if let Err(error) = served {
        tracing::error!(%error, "the HTTP server ended");
    }
}

/// Makes an admin key when there never was a key.
async fn first_admin_key(database: &Database, clock: &Clock) -> Result<Option<SecretString>, StartError> {
    if store::api_keys::exists(&database.api).await? {
        return Ok(None);
    }
    Ok(Some(create_key(database, clock, "first admin key", Scope::Admin, None).await?))
}

/// Makes a key from the command line or at the first start; the audit log names the server as its maker.
/// # Errors
/// Database errors; an unknown app.
pub async fn create_key(
    database: &Database,
    clock: &Clock,
    name: &str,
    scope: Scope,
    app_id: Option<crate::domain::id::AppId>,
) -> Result<SecretString, StartError> {
    let secret = new_api_key()?;
    let key = ApiKey {
        key_id: Uuid::now_v7(),
        name: name.to_owned(),
        scope,
        app_id,
        key_hash: api_key_hash(secret.expose_secret()),
        created_at: clock.now(),
        last_used_at: None,
        revoked_at: None,
    };
    let detail = serde_json::json!({"name": name, "scope": scope});
    let object = format!("api key {}", key.key_id);
    let event = AuditEvent::by_server(key.created_at, "api_key.create", app_id, object, detail);
    let mut transaction = database.api.begin().await?;
    store::api_keys::insert(&mut *transaction, &key).await?;
    store::audit::insert(&mut *transaction, &event).await?;
    store::signals::directory_changed(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(secret)
}
