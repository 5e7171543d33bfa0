//! The page.

use serde_json::Value;

use super::fields::{Schemas, reference};
use super::html::Html;
use super::sample;

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// An operation with its method and path.
#[derive(Clone, Copy)]
struct Call<'a> {
    method: &'a str,
    path: &'a str,
    operation: &'a Value,
}

impl<'a> Call<'a> {
    fn id(self) -> &'a str {
        self.operation["operationId"].as_str().unwrap_or_default()
    }

    /// Method and path, for headings and the contents.
    fn name(self, html: &mut Html) {
        html.raw("<span class=\"method ")
            .text(self.method)
            .raw("\">")
            .text(self.method)
            .raw("</span> <span class=\"path\">");
        // A long path may break where a part begins.
        for (index, part) in self.path.split('/').enumerate() {
            html.raw(if index == 0 { "" } else { "<wbr>/" }).text(part);
        }
        html.raw("</span>");
    }
}

fn calls(document: &Value) -> Vec<Call<'_>> {
    let paths = document["paths"].as_object().into_iter().flatten();
    paths
        .flat_map(|(path, methods)| {
            METHODS.iter().filter_map(move |method| Some(Call { method, path, operation: methods.get(*method)? }))
        })
        .collect()
}

/// The whole page.
pub(super) fn page(document: &Value) -> String {
    let mut html = Html::default();
    let title = document["info"]["title"].as_str().unwrap_or_default();
    html.raw("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"");
    html.raw("width=device-width, initial-scale=1\"><title>").text(title).raw(" API</title>");
    html.raw("<link rel=\"stylesheet\" href=\"/docs/style.css\"></head><body>");
    contents(&mut html, document);
    html.raw("<main><header><h1>").text(title).raw(" API <small>").text(text(&document["info"], "version"));
    html.raw("</small></h1><p>").prose(text(&document["info"], "description")).raw("</p>");
    html.raw(
        "<p>The same for programs: <a href=\"/openapi.json\">openapi.json</a>. The calls to copy need two variables, ",
    );
    html.raw("and a click selects each as a whole:</p><pre>ROUSE=http://127.0.0.1:8080\nKEY=rouse_...</pre></header>");
    for tag in document["tags"].as_array().into_iter().flatten() {
        let name = text(tag, "name");
        html.raw("<section><h2 id=\"").text(&anchor(name)).raw("\">").text(&capitalised(name)).raw("</h2><p>");
        html.prose(text(tag, "description")).raw("</p>");
        for call in tagged(document, name) {
            operation(&mut html, document, call);
        }
        html.raw("</section>");
    }
    types(&mut html, document);
    html.raw("</main></body></html>\n");
    html.into_string()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

fn anchor(name: &str) -> String {
    format!("tag-{}", name.replace(' ', "-"))
}

fn capitalised(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn tagged<'a>(document: &'a Value, tag: &str) -> Vec<Call<'a>> {
    calls(document).into_iter().filter(|call| call.operation["tags"][0] == tag).collect()
}

fn contents(html: &mut Html, document: &Value) {
    // A check box opens the contents on a small screen: no script is needed for that.
    html.raw("<nav><input type=\"checkbox\" id=\"menu\"><label for=\"menu\">Contents</label><div>");
    for tag in document["tags"].as_array().into_iter().flatten() {
        let name = text(tag, "name");
        html.raw("<a class=\"tag\" href=\"#").text(&anchor(name)).raw("\">").text(&capitalised(name)).raw("</a><ul>");
        for call in tagged(document, name) {
            html.raw("<li><a href=\"#").text(call.id()).raw("\">");
            let short = Call { path: call.path.strip_prefix("/v1").unwrap_or(call.path), ..call };
            short.name(html);
            html.raw("</a>");
        }
        html.raw("</ul>");
    }
    html.raw("<a class=\"tag\" href=\"#types\">Types</a></div></nav>");
}

fn operation(html: &mut Html, document: &Value, call: Call<'_>) {
    let described = call.operation;
    html.raw("<article id=\"").text(call.id()).raw("\"><h3><a href=\"#").text(call.id()).raw("\">");
    call.name(html);
    html.raw("</a></h3><p>").prose(text(described, "summary"));
    html.raw("</p>");
    for paragraph in text(described, "description").split("\n\n").filter(|paragraph| !paragraph.is_empty()) {
        html.raw("<p>").prose(paragraph).raw("</p>");
    }
    let schemas = Schemas(&document["components"]["schemas"]);
    parameters(html, schemas, described);
    let content = &described["requestBody"]["content"]["application/json"];
    let examples = content["examples"].as_object();
    if content.is_object() {
        html.raw("<h4>Body</h4>");
        schemas.table(html, &content["schema"]);
        for example in examples.into_iter().flatten().map(|(_, example)| example) {
            html.raw("<details><summary>").prose(text(example, "summary")).raw("</summary><pre>");
            html.text(&sample::json(&example["value"])).raw("</pre><p>With curl:</p><pre>");
            html.text(&sample::curl(call.method, call.path, described, Some(&example["value"])));
            html.raw("</pre></details>");
        }
    } else {
        html.raw("<h4>Call</h4><pre>").text(&sample::curl(call.method, call.path, described, None)).raw("</pre>");
    }
    answers(html, described);
    html.raw("</article>");
}

fn parameters(html: &mut Html, schemas: Schemas<'_>, described: &Value) {
    let Some(parameters) = described["parameters"].as_array().filter(|parameters| !parameters.is_empty()) else {
        return;
    };
    html.raw("<h4>Parameters</h4><table><thead><tr><th>Name<th>Type<th>Meaning</thead><tbody>");
    for parameter in parameters {
        html.raw("<tr><td>").code(text(parameter, "name")).raw(" <em>").text(text(parameter, "in")).raw("</em><td>");
        schemas.kind(html, &parameter["schema"]);
        let own = parameter["description"].as_str();
        html.raw("<td>").prose(own.unwrap_or_else(|| schemas.description(&parameter["schema"]))).raw("</tr>");
    }
    html.raw("</tbody></table>");
}

fn answers(html: &mut Html, described: &Value) {
    html.raw("<h4>Answers</h4><ul class=\"answers\">");
    for (status, answer) in described["responses"].as_object().into_iter().flatten() {
        html.raw("<li><b class=\"status\">").text(status).raw("</b> ").prose(text(answer, "description"));
        let content = answer["content"].as_object().and_then(|contents| contents.values().next());
        let schema = content.map(|content| &content["schema"]);
        if let Some(name) = schema.and_then(reference) {
            html.raw(" <a href=\"#schema-").text(name).raw("\">").text(name).raw("</a>");
        }
        if let Some(example) = content.and_then(|content| content.get("example")) {
            html.raw("<details><summary>Example</summary><pre>").text(&sample::json(example)).raw("</pre></details>");
        }
    }
    html.raw("</ul>");
}

fn types(html: &mut Html, document: &Value) {
    let schemas = Schemas(&document["components"]["schemas"]);
    html.raw("<section><h2 id=\"types\">Types</h2><p>What the calls refer to.</p>");
    for (name, schema) in document["components"]["schemas"].as_object().into_iter().flatten() {
        if !schemas.has_table(name) {
            continue;
        }
        html.raw("<article id=\"schema-").text(name).raw("\"><h3><a href=\"#schema-").text(name).raw("\">").text(name);
        html.raw("</a></h3><p>").prose(text(schema, "description")).raw("</p>");
        schemas.table(html, schema);
        html.raw("</article>");
    }
    html.raw("</section>");
}
