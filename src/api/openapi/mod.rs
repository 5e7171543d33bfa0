//! The OpenAPI document, made from the handlers.

mod examples;
mod schemas;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::RefOr;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::{
    api_keys, apps, audit, certificates, compat, devices, explain, notifications, operations, preferences,
    reachability, reasons, session_events, tencent_callback, trace,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Rouse",
        description = "Wakes the phone of a user whose app was killed. Errors are problem documents (RFC 9457) that name \
            the field; lists page by cursor; times are RFC 3339 UTC. Unknown fields are refused. Strings are 1 to 128 bytes \
            unless said otherwise. Calls under `/v1` want a key; besides what they list they may answer 401 `unauthorized`, \
            403 `forbidden`, 429 `too-many-failed-logins` and 503 `database-unavailable` or `timed-out`.",
        license(name = "Apache-2.0"),
    ),
    paths(
        notifications::create, notifications::create_batch, explain::explain, notifications::read, notifications::cancel,
        session_events::post, compat::tencent::state_change,
        devices::bind, devices::unbind, devices::list,
        preferences::put, preferences::read, preferences::delete,
        preferences::put_conversation, preferences::delete_conversation, preferences::conversations,
        reachability::read, reasons::list,
        trace::read,
        apps::create, apps::list, apps::read, apps::update, apps::delete,
        tencent_callback::set, tencent_callback::read, tencent_callback::clear,
        certificates::create, certificates::list, certificates::read, certificates::update, certificates::delete,
        certificates::pause, certificates::resume,
        api_keys::create, api_keys::list, api_keys::revoke,
        audit::list,
        operations::healthz, operations::readyz, operations::metrics,
    ),
    modifiers(&Finish),
    security(("key" = [])),
    tags(
        (name = "chat server", description = "For a key of scope `chat`, bound to one app; administrators may call it too."),
        (name = "operator", description = "For keys of scope `admin`; reading also for `viewer`."),
        (name = "operations", description = "Without a key."),
    ),
)]
struct Document;

/// What the annotations cannot say.
struct Finish;

/// The operations of a path, with their methods.
fn operations(item: &mut PathItem) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    let all = [
        ("get", &mut item.get),
        ("put", &mut item.put),
        ("post", &mut item.post),
        ("patch", &mut item.patch),
        ("delete", &mut item.delete),
    ];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

/// Operation ids are the method and the path, so that each is unique.
fn name_operations(document: &mut utoipa::openapi::OpenApi) {
    for (path, item) in &mut document.paths.paths {
        let words: Vec<&str> =
            path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
        let name = words.join("_");
        for (method, operation) in operations(item) {
            operation.operation_id = Some(format!("{method}_{name}"));
            describe_answers(operation);
        }
    }
}

/// An answer needs a description; where the handler says nothing it is the name of the status.
fn describe_answers(operation: &mut Operation) {
    for (status, response) in &mut operation.responses.responses {
        let reason = status.parse::<StatusCode>().ok().and_then(|status| status.canonical_reason());
        if let (RefOr::T(response), Some(reason)) = (response, reason)
            && response.description.is_empty()
        {
            reason.clone_into(&mut response.description);
        }
    }
}

impl Modify for Finish {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        name_operations(document);
        schemas::finish(document);
        examples::add(document);
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("rouse_...").build();
        document
            .components
            .get_or_insert_with(Default::default)
            .add_security_scheme("key", SecurityScheme::Http(bearer));
    }
}

/// The document.
pub fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

/// Serves it.
pub(super) async fn serve() -> Response {
    Json(document()).into_response()
}
