//! Extractors whose rejections are problem documents.

use axum::body::{Body as HttpBody, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::error::ApiError;
use crate::domain::text::quoted_name;

/// The largest body of any call.
pub(super) const MAX_BODY_BYTES: usize = 1024 * 1024;

/// A JSON body. Errors name the field.
pub(super) struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        let media_type = content_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
        if media_type != "application/json" && !media_type.ends_with("+json") {
            return Err(ApiError::UnsupportedMediaType);
        }
        parse(&whole(request.into_body()).await?).map(Self)
    }
}

/// A whole body, if it is not too large.
pub(super) async fn whole(body: HttpBody) -> Result<Bytes, ApiError> {
    axum::body::to_bytes(body, MAX_BODY_BYTES).await.map_err(|error| {
        let mut source: Option<&dyn std::error::Error> = Some(&error);
        while let Some(cause) = source {
            if cause.to_string().contains("length limit exceeded") {
                return ApiError::BodyTooLarge { limit: MAX_BODY_BYTES };
            }
            source = cause.source();
        }
        ApiError::NotJson("the body broke off".to_owned())
    })
}

/// Reads JSON; an error names the field where it can.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    // Where nothing is wrong nobody asks where.
    if let Ok(value) = serde_json::from_slice(bytes) {
        return Ok(value);
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let source = error.into_inner();
        if source.is_syntax() || source.is_eof() {
            return ApiError::NotJson(source.to_string());
        }
        let message = source.to_string();
        let message = message.rsplit_once(" at line ").map_or(message.clone(), |(text, _)| text.to_owned());
        invalid(&path, message)
    })?;
    json.end().map_err(|error| ApiError::NotJson(error.to_string()))?;
    Ok(value)
}

/// A body error at a path; serde reports unknown and missing fields at their parent.
fn invalid(path: &str, message: String) -> ApiError {
    let parent = if path == "." { "" } else { path };
    let field = match quoted_name(&message) {
        // The path already ends in an unknown field's name.
        Some(name) if parent.is_empty() => name,
        Some(name) if parent == name || parent.ends_with(&format!(".{name}")) => parent.to_owned(),
        Some(name) => format!("{parent}.{name}"),
        None if parent.is_empty() => "(body)".to_owned(),
        None => parent.to_owned(),
    };
    ApiError::InvalidBody { field, message }
}

/// Query parameters.
pub(super) struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        axum::extract::Query::<T>::try_from_uri(&parts.uri)
            .map(|query| Self(query.0))
            .map_err(|error| ApiError::InvalidParameter { field: "query", message: error.body_text() })
    }
}

/// Path parameters; one that does not parse names nothing.
pub(super) struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        axum::extract::Path::<T>::from_request_parts(parts, state)
            .await
            .map(|path| Self(path.0))
            .map_err(|error| ApiError::InvalidParameter { field: "path", message: error.body_text() })
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::domain::text::Name;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only parsed")]
    struct Outer {
        to: Vec<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only parsed")]
    struct Inner {
        user_id: Name,
    }

    #[test]
    fn errors_name_the_field() {
        for (json, field) in [
            (r#"{"to":[{"user_id":"a"},{"user_id":5}]}"#, "to[1].user_id"),
            (r#"{"to":[{"user_id":""}]}"#, "to[0].user_id"),
            (r#"{"to":[{}]}"#, "to[0].user_id"),
            (r#"{"to":[{"user_id":"a","x":1}]}"#, "to[0].x"),
            ("{}", "to"),
            (r#"{"to":[],"titel":"x"}"#, "titel"),
            (r#"{"to":5}"#, "to"),
            ("5", "(body)"),
        ] {
            match parse::<Outer>(json.as_bytes()) {
                Err(ApiError::InvalidBody { field: named, message }) => {
                    assert_eq!(named, field, "{json}");
                    assert!(!message.contains(" at line "), "{message}");
                }
                other => panic!("{json}: {other:?}"),
            }
        }
        for json in ["", "{", r#"{"to":[]} x"#, "{\"to\":[\"\u{1}\"]}"] {
            assert!(matches!(parse::<Outer>(json.as_bytes()), Err(ApiError::NotJson(_))), "{json}");
        }
    }
}
