//! The requests of a send as they would be made, for people to look at.
//!
//! An adapter makes them by the code that makes them for a send, with `MASK` where a secret stands and with `masked`
//! targets, so that nothing secret is in them from the start. Here they are only taken apart.

use std::collections::BTreeMap;

use bytes::Bytes;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Request, RequestBuilder};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::Target;
use crate::secrets::masked_token;

/// Stands where a secret would: an access token, an app's secret, a signature.
pub(super) const MASK: &str = "***";

/// A request to a vendor, secrets and device tokens masked.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct RenderedRequest {
    #[schema(example = "POST")]
    pub method: &'static str,
    pub url: String,
    /// Those that belong to the push service; names in lower case. What every HTTP request has is left out.
    pub headers: BTreeMap<String, String>,
    /// The JSON that the vendor gets. Of a form: its fields, with the JSON in place of a text that holds some.
    #[schema(value_type = Object)]
    pub body: Value,
}

/// The same devices with tokens that say nothing to anybody.
pub(super) fn masked(targets: &[Target]) -> Vec<Target> {
    targets.iter().map(|target| Target { token: masked_token(&target.token), ..target.clone() }).collect()
}

/// Requests as they are shown; `json_fields` are the fields of their forms that hold JSON. One that could not be sent,
/// because of a host that is none, is left out.
pub(super) fn rendered(
    requests: impl IntoIterator<Item = RequestBuilder>,
    json_fields: &[&str],
) -> Vec<RenderedRequest> {
    let built = requests.into_iter().filter_map(|request| request.build().ok());
    built.map(|request| taken_apart(&request, json_fields)).collect()
}

/// The same of a request that goes out over [`http2`](super::http2).
pub(super) fn rendered_http2(request: http::Request<Bytes>) -> Option<RenderedRequest> {
    Some(taken_apart(&Request::try_from(request).ok()?, &[]))
}

fn taken_apart(request: &Request, json_fields: &[&str]) -> RenderedRequest {
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let bytes = request.body().and_then(reqwest::Body::as_bytes).unwrap_or_default();
    let content_type = request.headers().get(CONTENT_TYPE).map(|value| text(value.as_bytes())).unwrap_or_default();
    RenderedRequest {
        method: "POST", // there is no other in any vendor's document
        url: request.url().to_string(),
        headers: request
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), text(value.as_bytes())))
            .collect(),
        body: if content_type.starts_with("application/x-www-form-urlencoded") {
            Value::Object(fields(bytes, json_fields))
        } else {
            serde_json::from_slice(bytes).unwrap_or_default()
        },
    }
}

fn fields(form: &[u8], json_fields: &[&str]) -> Map<String, Value> {
    let shown = |(name, text): (std::borrow::Cow<'_, str>, std::borrow::Cow<'_, str>)| {
        let held = json_fields.contains(&&*name).then(|| serde_json::from_str(&text).ok()).flatten();
        let is_whole = |held: &Value| held.is_object() || held.is_array();
        let value = held.filter(is_whole).unwrap_or_else(|| Value::String(text.into_owned()));
        (name.into_owned(), value)
    };
    url::form_urlencoded::parse(form).map(shown).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::vendor::testing::{http, targets};

    #[test]
    fn json_inside_a_form_is_shown_only_where_the_vendor_reads_some() {
        let form = [("message", r#"{"a":[1]}"#), ("title", r#"{"a":1}"#), ("text", "5"), ("broken", "{")];
        let request = http().post("https://push.example.com/send").form(&form);
        let shown = rendered([request], &["message", "text", "broken"]);
        assert_eq!(
            serde_json::to_value(shown).unwrap(),
            json!([{
                "method": "POST",
                "url": "https://push.example.com/send",
                "headers": {"content-type": "application/x-www-form-urlencoded"},
                "body": {"message": {"a": [1]}, "title": r#"{"a":1}"#, "text": "5", "broken": "{"},
            }])
        );
    }

    #[test]
    fn no_body_is_null_and_no_request_is_nothing() {
        let shown = rendered([http().post("https://push.example.com/"), http().post("no host")], &[]);
        assert_eq!(shown.iter().map(|request| &request.body).collect::<Vec<_>>(), [&Value::Null]);
    }

    #[test]
    fn a_masked_token_is_that_of_the_trace() {
        let [real] = &targets(&["secret-token"])[..] else { unreachable!() };
        let shown = &masked(std::slice::from_ref(real))[0];
        assert_eq!((shown.delivery_id, shown.token.len()), (real.delivery_id, 13));
        assert_eq!(shown.token, masked_token("secret-token"));
    }
}
