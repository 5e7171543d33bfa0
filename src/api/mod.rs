//! The REST API: router and what every handler shares. One file per resource.

mod api_keys;
mod apps;
mod audit;
mod auth;
mod certificates;
mod compat;
mod devices;
mod docs;
mod error;
mod explain;
mod extract;
mod idempotency;
mod notifications;
mod openapi;
mod operations;
mod page;
mod preferences;
mod reachability;
mod reasons;
mod session_events;
mod tencent_callback;
mod trace;

use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use tower_http::catch_panic::CatchPanicLayer;
use uuid::Uuid;

use crate::clock::Clock;
use crate::directory::{Directory, Snapshot};
use crate::dispatcher::Dispatcher;
use crate::domain::id::{AppId, CertificateId};
use crate::intake::Intake;
use crate::sessions::ingest::Ingest;
use crate::store::apps::App;
use crate::store::audit::AuditEvent;
use crate::store::{self, Database};
use crate::telemetry;
pub use auth::{Caller, FailedLogins, KeyUse};
pub use error::{ApiError, Problem};
pub use openapi::document as openapi_document;

/// What handlers work with, shared: each request clones it some times.
#[derive(Clone)]
pub struct Api(Arc<Parts>);

impl Deref for Api {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// The parts of the server that the API uses.
pub struct Parts {
    pub database: Database,
    pub directory: Arc<Directory>,
    pub dispatcher: Dispatcher,
    pub intake: Intake,
    pub ingest: Ingest,
    pub clock: Clock,
    pub failed_logins: Arc<FailedLogins>,
    pub key_use: Arc<KeyUse>,
    pub request_timeout: Duration,
}

impl Api {
    /// Of these parts.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// The app a path names.
    async fn app(&self, app_id: AppId) -> Result<Arc<App>, ApiError> {
        let find = || self.directory.snapshot().apps.get(&app_id).cloned();
        if let Some(app) = find() {
            return Ok(app);
        }
        self.directory.look_again().await?;
        find().ok_or(ApiError::NotFound { what: "app" })
    }

    /// A view that knows these certificates, if they exist.
    async fn knowing(
        &self,
        app_id: AppId,
        mut certificates: impl Iterator<Item = CertificateId>,
    ) -> sqlx::Result<Arc<Snapshot>> {
        let snapshot = self.directory.snapshot().clone();
        if certificates.all(|id| snapshot.certificate_of(app_id, id).is_some()) {
            return Ok(snapshot);
        }
        self.directory.look_again().await?;
        Ok(self.directory.snapshot().clone())
    }

    /// The event that tells of an operator's write.
    fn audit(
        &self,
        caller: &Caller,
        action: &str,
        app_id: Option<AppId>,
        object: String,
        detail: serde_json::Value,
    ) -> AuditEvent {
        AuditEvent {
            audit_id: Uuid::now_v7(),
            at: self.clock.now(),
            key_id: Some(caller.0.key_id),
            actor: caller.0.name.clone(),
            action: action.to_owned(),
            app_id: app_id.map(|id| id.0),
            object,
            detail,
        }
    }

    /// Commits an operator's write with its audit event and makes it act at once, here and on the other instances.
    async fn commit(
        &self,
        mut transaction: sqlx::Transaction<'_, sqlx::Postgres>,
        event: &AuditEvent,
    ) -> Result<(), ApiError> {
        store::audit::insert(&mut *transaction, event).await?;
        store::signals::directory_changed(&mut *transaction).await?;
        transaction.commit().await?;
        if let Err(error) = self.directory.refresh().await {
            // It is written: the caller must hear that. The poll catches up in seconds.
            tracing::warn!(%error, "cannot load a change at once");
        }
        Ok(())
    }
}

/// The whole API.
pub fn router(api: Api) -> Router {
    let app = Router::new()
        .route("/certificates", get(certificates::list).post(certificates::create))
        .route(
            "/certificates/{certificate}",
            get(certificates::read).patch(certificates::update).delete(certificates::delete).post(certificates::act),
        )
        .route("/users/{user}/devices", get(devices::list))
        .route("/users/{user}/devices/{device}/binding", put(devices::bind).delete(devices::unbind))
        .route("/users/{user}/reachability", get(reachability::read))
        .route("/users/{user}/preferences", get(preferences::read).put(preferences::put).delete(preferences::delete))
        .route("/users/{user}/conversations", get(preferences::conversations))
        .route(
            "/users/{user}/conversations/{conversation}",
            put(preferences::put_conversation).delete(preferences::delete_conversation),
        )
        .route("/session-events", post(session_events::post))
        .route("/notifications", post(notifications::create))
        .route("/notifications:batch", post(notifications::create_batch))
        .route("/notifications:explain", post(explain::explain))
        .route("/notifications/{notification}", get(notifications::read).delete(notifications::cancel))
        .route("/trace", get(trace::read))
        .route(
            "/tencent-callback",
            get(tencent_callback::read).put(tencent_callback::set).delete(tencent_callback::clear),
        );
    Router::new()
        .route("/v1/apps", get(apps::list).post(apps::create))
        .route("/v1/apps/{app}", get(apps::read).patch(apps::update).delete(apps::delete))
        .nest("/v1/apps/{app}", app)
        .route("/v1/api-keys", get(api_keys::list).post(api_keys::create))
        .route("/v1/api-keys/{key}", axum::routing::delete(api_keys::revoke))
        .route("/v1/audit-events", get(audit::list))
        .route("/v1/skip-reasons", get(reasons::list))
        .route(compat::tencent::PATH, post(compat::tencent::state_change))
        .route("/openapi.json", get(openapi::serve))
        .route("/docs", get(docs::serve))
        .route("/docs/style.css", get(docs::style))
        .route("/healthz", get(operations::healthz))
        .route("/readyz", get(operations::readyz))
        .route("/metrics", get(operations::metrics))
        .fallback(|| async { ApiError::NoSuchPath })
        .method_not_allowed_fallback(|| async { ApiError::MethodNotAllowed })
        .layer(middleware::from_fn_with_state(api.clone(), watch))
        .layer(CatchPanicLayer::custom(|_| ApiError::Internal("a handler panicked").into_response()))
        .with_state(api)
}

/// Bounds every request in time, counts it, and keeps answers out of caches. While the database does not answer, requests
/// that need it are refused at once.
async fn watch(State(api): State<Api>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let is_tencents = route.as_deref() == Some(compat::tencent::PATH);
    let refuse = |error: ApiError| if is_tencents { compat::tencent::failed(&error) } else { error.into_response() };
    // Nothing under /v1 and no callback does without the database: no request should wait to find that out.
    let needs_database = is_tencents || request.uri().path().starts_with("/v1/");
    let mut response = if needs_database && !api.dispatcher.is_fresh() {
        refuse(ApiError::Unavailable)
    } else {
        let answer = tokio::time::timeout(api.request_timeout, next.run(request)).await;
        answer.unwrap_or_else(|_| refuse(ApiError::TimedOut))
    };
    let headers = response.headers_mut();
    headers.insert("cache-control", HeaderValue::from_static("no-store"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    telemetry::metrics::request(route.as_deref().unwrap_or("none"), response.status().as_u16(), started.elapsed());
    response
}

/// 204, for writes with nothing to tell.
fn no_content() -> Response {
    StatusCode::NO_CONTENT.into_response()
}
