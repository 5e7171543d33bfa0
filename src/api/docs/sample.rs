//! Calls to copy.

use serde_json::Value;

/// What stands for the parts of a path, as in the examples.
const PATH: [(&str, &str); 6] = [
    ("{app}", "1400000001"),
    ("{certificate}", "10001"),
    ("{user}", "bob"),
    ("{device}", "phone-b1"),
    ("{notification}", "01a20d17-340d-7a2d-bc73-32186c800000"),
    ("{key}", "01a20d17-33da-72a8-9aee-620d4adbc675"),
];

/// JSON as people read it.
pub(super) fn json(value: &Value) -> String {
    match value {
        Value::String(text) => text.trim_end().to_owned(),
        value => serde_json::to_string_pretty(value).unwrap_or_default(),
    }
}

/// A call with curl. The body comes by a here-document, where quotes need no care.
pub(super) fn curl(method: &str, path: &str, operation: &Value, body: Option<&Value>) -> String {
    let mut filled = path.to_owned();
    for (name, value) in PATH {
        filled = filled.replace(name, value);
    }
    let parameters = operation["parameters"].as_array();
    if parameters.into_iter().flatten().any(|parameter| parameter["name"] == "user_id") {
        filled.push_str("?user_id=bob");
    }
    let mut lines = vec![match method {
        "get" => format!("curl \"$ROUSE{filled}\""),
        _ => format!("curl -X {} \"$ROUSE{filled}\"", method.to_uppercase()),
    }];
    if needs_key(operation) {
        lines.push("-H \"Authorization: Bearer $KEY\"".to_owned());
    }
    if body.is_some() {
        lines.push("-H 'Content-Type: application/json'".to_owned());
        lines.push("--data-binary @- <<'END'".to_owned());
    }
    let call = lines.join(" \\\n    ");
    body.map_or(call.clone(), |body| format!("{call}\n{}\nEND", json(body)))
}

/// Whether a call asks for a key.
pub(super) fn needs_key(operation: &Value) -> bool {
    operation["security"] != serde_json::json!([{}])
}
