//! Examples of requests and answers, from `examples.json`. They stand in a file of their own, because beside the handlers
//! they would hide them. A test posts each request to a server and holds each answer against its schema.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use utoipa::openapi::RefOr;
use utoipa::openapi::example::Example;

use super::operations;

const EXAMPLES: &str = include_str!("examples.json");

/// The examples of one operation.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Examples {
    /// Bodies, by a short name.
    #[serde(default)]
    requests: BTreeMap<String, RequestExample>,
    /// Answers, by status.
    answers: BTreeMap<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestExample {
    summary: String,
    value: Value,
}

fn read() -> serde_json::Result<BTreeMap<String, Examples>> {
    serde_json::from_str(EXAMPLES)
}

/// Puts the examples beside the schemas.
pub(super) fn add(document: &mut utoipa::openapi::OpenApi) {
    // The file is compiled in and a test reads it: there is no error to tell anybody of.
    let Ok(mut all) = read() else { return };
    for (path, item) in &mut document.paths.paths {
        for (method, operation) in operations(item) {
            let Some(examples) = all.remove(&format!("{method} {path}")) else { continue };
            if let Some(RefOr::T(body)) = &mut operation.request_body {
                for content in body.content.values_mut().filter_map(own) {
                    content.examples =
                        examples.requests.iter().map(|(name, example)| (name.clone(), shown(example))).collect();
                }
            }
            for (status, answer) in examples.answers {
                if let Some(RefOr::T(response)) = operation.responses.responses.get_mut(&status) {
                    for content in response.content.values_mut().filter_map(own) {
                        content.example = Some(answer.clone());
                    }
                }
            }
        }
    }
}

fn own<T>(item: &mut RefOr<T>) -> Option<&mut T> {
    match item {
        RefOr::T(item) => Some(item),
        RefOr::Ref(_) => None,
    }
}

fn shown(example: &RequestExample) -> RefOr<Example> {
    let mut shown = Example::new();
    shown.summary.clone_from(&example.summary);
    shown.value = Some(example.value.clone());
    RefOr::T(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_example_belongs_to_an_operation() {
        let mut document = crate::api::openapi_document();
        let mut all = read().unwrap();
        for (path, item) in &mut document.paths.paths {
            for (method, operation) in operations(item) {
                let examples = all.remove(&format!("{method} {path}"));
                let examples = examples.unwrap_or_else(|| panic!("{method} {path} has no examples"));
                assert_eq!(examples.requests.is_empty(), operation.request_body.is_none(), "{method} {path}");
                for status in examples.answers.keys() {
                    assert!(operation.responses.responses.contains_key(status), "{method} {path}: {status}");
                }
            }
        }
        assert!(all.is_empty(), "{:?}", all.keys());
    }
}
