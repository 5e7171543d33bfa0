//! The OpenAPI document, made from the handlers.

use axum::Json;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::{api_keys, apps, audit, certificates, devices, notifications, operations, session_events, trace};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Rouse",
        description = "Wakes the phone of a user whose app was killed. Errors are problem documents (RFC 9457) that name \
            the field; lists page by cursor; times are RFC 3339 UTC. Unknown fields are refused. Strings are 1 to 128 bytes \
            unless said otherwise.",
        license(name = "Apache-2.0"),
    ),
    paths(
        notifications::create, notifications::create_batch, notifications::read, notifications::cancel,
        session_events::post,
        devices::bind, devices::unbind, devices::list,
        trace::read,
        apps::create, apps::list, apps::read, apps::update, apps::delete,
        certificates::create, certificates::list, certificates::read, certificates::update, certificates::delete,
        certificates::pause, certificates::resume,
        api_keys::create, api_keys::list, api_keys::revoke,
        audit::list,
        operations::healthz, operations::readyz, operations::metrics,
    ),
    modifiers(&Keys),
    security(("key" = [])),
    tags(
        (name = "chat server", description = "For a key of scope `chat`, bound to one app; administrators may call it too."),
        (name = "operator", description = "For keys of scope `admin`; reading also for `viewer`."),
        (name = "operations", description = "Without a key."),
    ),
)]
struct Document;

struct Keys;

/// Operation ids are the method and the path, so that each is unique.
fn name_operations(document: &mut utoipa::openapi::OpenApi) {
    for (path, item) in &mut document.paths.paths {
        let words: Vec<&str> =
            path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
        let name = words.join("_");
        for (method, operation) in [
            ("get", &mut item.get),
            ("put", &mut item.put),
            ("post", &mut item.post),
            ("patch", &mut item.patch),
            ("delete", &mut item.delete),
        ] {
            if let Some(operation) = operation {
                operation.operation_id = Some(format!("{method}_{name}"));
            }
        }
    }
}

impl Modify for Keys {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        name_operations(document);
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
