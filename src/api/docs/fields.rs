//! Schemas as tables of fields.

use serde_json::Value;

use super::html::Html;

/// A nested object with up to so many fields is shown where it is used; a larger one has a table of its own.
const FEW: usize = 6;
/// How far objects are shown within objects.
const DEPTH: usize = 3;

/// The schemas of the document.
#[derive(Clone, Copy)]
pub(super) struct Schemas<'a>(pub(super) &'a Value);

/// The name a reference leads to.
pub(super) fn reference(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.strip_prefix("#/components/schemas/")
}

/// The schema that may be null, without the null.
fn without_null(schema: &Value) -> (&Value, bool) {
    let Some([one, other]) = schema["oneOf"].as_array().map(Vec::as_slice) else { return (schema, false) };
    match (one["type"] == "null", other["type"] == "null") {
        (false, true) => (one, true),
        (true, false) => (other, true),
        _ => (schema, false),
    }
}

fn type_name(schema: &Value) -> Option<&str> {
    match &schema["type"] {
        Value::Array(types) => types.iter().filter_map(Value::as_str).find(|name| *name != "null"),
        one => one.as_str(),
    }
}

fn is_nullable(schema: &Value) -> bool {
    schema["type"].as_array().is_some_and(|types| types.iter().any(|name| name == "null"))
}

fn properties(schema: &Value) -> usize {
    schema["properties"].as_object().map_or(0, serde_json::Map::len)
}

impl<'a> Schemas<'a> {
    /// What a reference leads to, or the schema itself.
    fn resolved(self, schema: &'a Value) -> &'a Value {
        reference(schema).map_or(schema, |name| &self.0[name])
    }

    /// Whether a schema has a table of its own.
    pub(super) fn has_table(self, name: &str) -> bool {
        let schema = &self.0[name];
        properties(schema) > 0 || schema["oneOf"].is_array() || schema["anyOf"].is_array()
    }

    /// The description a field has itself, or that of its type where it is no table.
    pub(super) fn description(self, schema: &'a Value) -> &'a str {
        let (inner, _) = without_null(schema);
        let own = schema["description"].as_str().or_else(|| inner["description"].as_str());
        own.or_else(|| self.resolved(inner)["description"].as_str().filter(|_| self.is_simple(inner)))
            .unwrap_or_default()
    }

    fn is_simple(self, schema: &Value) -> bool {
        reference(schema).is_some_and(|name| !self.has_table(name))
    }

    /// The type in words: with range, values, and links to larger types.
    pub(super) fn kind(self, html: &mut Html, schema: &'a Value) {
        let (inner, is_null) = without_null(schema);
        if let Some(name) = reference(inner).filter(|name| self.has_table(name)) {
            html.raw("<a href=\"#schema-").text(name).raw("\">").text(name).raw("</a>");
        } else {
            self.plain_kind(html, self.resolved(inner));
        }
        if is_null || is_nullable(inner) {
            html.raw(" or null");
        }
        match &schema["default"] {
            Value::Null => {}
            default => {
                html.raw("; default ").code(&default.to_string());
            }
        }
    }

    fn plain_kind(self, html: &mut Html, schema: &'a Value) {
        if let Some(values) = schema["enum"].as_array() {
            for (index, value) in values.iter().enumerate() {
                html.raw(if index == 0 { "" } else { " <wbr>" }).code(&value.to_string());
            }
            return;
        }
        if let Some(parts) = schema["oneOf"].as_array() {
            for (index, part) in parts.iter().enumerate() {
                html.raw(if index == 0 { "" } else { " or " });
                self.kind(html, part);
            }
            return;
        }
        match (type_name(schema), schema["format"].as_str()) {
            (Some("array"), _) => {
                html.raw("list of ");
                self.kind(html, &schema["items"]);
            }
            (Some("string"), Some("date-time")) => {
                html.raw("time");
            }
            (Some("string"), Some(format)) => {
                html.text(format);
            }
            (Some(name), _) => {
                html.text(name);
            }
            (None, _) => {
                html.raw("any");
            }
        }
        for (least, most, unit) in
            [("minimum", "maximum", ""), ("minLength", "maxLength", " bytes"), ("minItems", "maxItems", " items")]
        {
            match (schema[least].as_f64(), schema[most].as_f64()) {
                (Some(_), Some(_)) => {
                    let (least, most) = (schema[least].to_string(), schema[most].to_string());
                    html.raw(", ").text(&least).raw(" to ").text(&most).raw(unit)
                }
                (Some(_), None) => html.raw(", at least ").text(&schema[least].to_string()).raw(unit),
                (None, Some(_)) => html.raw(", at most ").text(&schema[most].to_string()).raw(unit),
                (None, None) => html,
            };
        }
    }

    /// The fields of an object; of alternatives, one table each.
    pub(super) fn table(self, html: &mut Html, schema: &'a Value) {
        let schema = self.resolved(schema);
        if let Some(parts) = schema["oneOf"].as_array().or_else(|| schema["anyOf"].as_array()) {
            for part in parts {
                self.alternative(html, part);
            }
            return;
        }
        html.raw("<table><thead><tr><th>Field<th>Type<th>Meaning</thead><tbody>");
        self.rows(html, schema, "", DEPTH);
        html.raw("</tbody></table>");
    }

    fn alternative(self, html: &mut Html, part: &'a Value) {
        let schema = self.resolved(part);
        if properties(schema) == 0 {
            html.raw("<p class=\"alternative\">");
            self.kind(html, part);
            html.raw("</p>");
            return;
        }
        let summary = schema["description"].as_str().unwrap_or_default();
        html.raw("<p class=\"alternative\"><b>").text(reference(part).unwrap_or_default()).raw("</b> ");
        html.prose(summary).raw("</p>");
        self.table(html, part);
    }

    fn rows(self, html: &mut Html, schema: &'a Value, prefix: &str, depth: usize) {
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let fields = schema["properties"].as_object().into_iter().flatten();
        // What must be there comes first.
        let (needed, others): (Vec<_>, Vec<_>) = fields.partition(|(name, _)| required.contains(&name.as_str()));
        for (name, field) in needed.iter().chain(&others) {
            let path = format!("{prefix}{name}");
            html.raw("<tr><td>").code(&path);
            html.raw(if required.contains(&name.as_str()) { " <em>required</em>" } else { "" });
            html.raw("<td>");
            self.kind(html, field);
            html.raw("<td>").prose(self.description(field)).raw("</tr>");
            if depth > 0 {
                self.nested(html, field, &path, depth - 1);
            }
        }
    }

    /// The fields of a small or unnamed object within an object or list.
    fn nested(self, html: &mut Html, field: &'a Value, path: &str, depth: usize) {
        let (inner, _) = without_null(field);
        let (inner, suffix) = match type_name(inner) {
            Some("array") => (&inner["items"], "[]."),
            _ => (inner, "."),
        };
        let schema = self.resolved(inner);
        let is_small = reference(inner).is_none() || properties(schema) <= FEW;
        if is_small && properties(schema) > 0 {
            self.rows(html, schema, &format!("{path}{suffix}"), depth);
        }
    }
}
