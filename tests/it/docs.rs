//! `/docs`, the API document as a page.

use reqwest::Method;
use sqlx::PgPool;

use crate::world::World;

async fn page(world: &World, path: &str) -> (String, reqwest::header::HeaderMap) {
    let answer = world.call_with(None, Method::GET, path, None).await;
    assert_eq!(answer.status, 200, "{path}");
    (answer.body.as_str().unwrap().to_owned(), answer.headers)
}

/// The values of an attribute, wherever it stands.
fn values<'a>(html: &'a str, attribute: &str) -> Vec<&'a str> {
    html.split(&format!(" {attribute}=\"")).skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn the_page_is_whole_and_loads_nothing_but_its_style_sheet(pool: PgPool) {
    let world = World::start(pool).await;
    let (html, headers) = page(&world, "/docs").await;
    assert_eq!(headers["content-type"], "text/html; charset=utf-8");
    let policy = headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'self';") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert!(html.len() < 350_000, "{}", html.len());

    // Each call has its anchor, and each link within the page leads somewhere, once.
    let ids = values(&html, "id");
    let document = serde_json::to_value(rouse::api::openapi_document()).unwrap();
    let paths = document["paths"].as_object().unwrap().values();
    let operations = paths.flat_map(|path| path.as_object().unwrap().values()).filter(|value| value.is_object());
    let mut count = 0;
    for operation in operations {
        let id = operation["operationId"].as_str().unwrap();
        assert_eq!(ids.iter().filter(|found| **found == id).count(), 1, "{id}");
        count += 1;
    }
    assert!(count >= 25, "{count}");
    let links = values(&html, "href");
    for link in &links {
        match link.strip_prefix('#') {
            Some(anchor) => assert!(ids.contains(&anchor), "{link} leads nowhere"),
            None => assert!(["/openapi.json", "/docs/style.css"].contains(link), "{link}"),
        }
    }

    // No script, no inline style, nothing from elsewhere.
    for forbidden in ["<script", "<style", " style=", " src=", "<iframe", "<img", " onclick", "javascript:"] {
        assert!(!html.contains(forbidden), "{forbidden}");
    }
    let (style, headers) = page(&world, "/docs/style.css").await;
    assert_eq!(headers["content-type"], "text/css; charset=utf-8");
    assert!(!style.contains("url(") && !style.contains("@import"));
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn the_page_shows_fields_and_calls_to_copy(pool: PgPool) {
    let world = World::start(pool).await;
    let (html, _) = page(&world, "/docs").await;
    for shown in [
        "<code>to[].user_id</code> <em>required</em>",
        "integer, 0 to 604800; default <code>86400</code>",
        "<a href=\"#schema-AcceptedView\">AcceptedView</a>",
        // Quotes of examples are escaped.
        "curl -X POST &quot;$ROUSE/v1/apps/1400000001/notifications&quot;",
        "&quot;message_id&quot;: &quot;msg-7f3a91&quot;",
        "<code>defaults.channel_id</code>",
    ] {
        assert!(html.contains(shown), "{shown}");
    }
    // A call without a key is shown without one.
    let health = html.split("<article id=\"get_healthz\">").nth(1).unwrap().split("</article>").next().unwrap();
    assert!(health.contains("curl") && !health.contains("Bearer"), "{health}");
}
