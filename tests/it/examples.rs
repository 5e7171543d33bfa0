//! The examples of the API document do what the document says: one story, told to a server with nothing but them.

use std::collections::BTreeSet;

use jsonschema::Validator;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::world::{APP, Answer, CERTIFICATE, SECRET, World};

/// Nobody listens there: an example must not reach Apple.
const NOWHERE: &str = "http://127.0.0.1:9";
const METHODS: [&str; 5] = ["get", "put", "post", "patch", "delete"];

struct Story {
    world: World,
    document: Value,
    /// From the examples' time to the server's.
    shift_ms: i64,
    /// What the document has and the story has not told yet: operations, and examples of requests as `operation name`.
    untold: BTreeSet<String>,
}

/// `get /v1/apps` and so on, with the operation.
fn operations(document: &Value) -> impl Iterator<Item = (String, &Value)> {
    document["paths"].as_object().unwrap().iter().flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap().iter();
        methods
            .filter(|(method, _)| METHODS.contains(&method.as_str()))
            .map(move |(method, operation)| (format!("{method} {path}"), operation))
    })
}

/// The examples of an operation's body, by name.
fn requests(operation: &Value) -> impl Iterator<Item = (&String, &Value)> {
    let examples = operation["requestBody"]["content"]["application/json"]["examples"].as_object();
    examples.into_iter().flatten().map(|(name, example)| (name, &example["value"]))
}

impl Story {
    async fn start(pool: PgPool) -> Self {
        let hosts = [("VENDORS__APNS__PRODUCTION", NOWHERE), ("VENDORS__APNS__SANDBOX", NOWHERE)];
        let world = World::with(pool, &hosts).await;
        let document = serde_json::to_value(rouse::api::openapi_document()).unwrap();
        let times = operations(&document).flat_map(|(_, operation)| requests(operation)).flat_map(|(_, body)| {
            body["events"].as_array().into_iter().flatten().filter_map(|event| event["event_time"].as_i64())
        });
        let shift_ms = world.now_ms() - times.max().unwrap();
        let untold = operations(&document)
            .flat_map(|(name, operation)| {
                let examples: Vec<String> =
                    requests(operation).map(|(example, _)| format!("{name} {example}")).collect();
                examples.into_iter().chain([name])
            })
            .collect();
        Self { world, document, shift_ms, untold }
    }

    /// A schema of the document, with what it refers to.
    fn validator(&self, schema: &Value) -> Validator {
        let whole = json!({"allOf": [schema], "components": self.document["components"]});
        jsonschema::options().should_validate_formats(true).build(&whole).unwrap()
    }

    /// Makes a call of the document; the answer has to have the documented status and form, and the form of its example.
    async fn call(&mut self, operation: &str, filled: &[(&str, &str)], example: &str, status: u16) -> Value {
        let (method, template) = operation.split_once(' ').unwrap();
        let described = self.document["paths"][template][method].clone();
        assert!(described.is_object(), "{operation} is not in the document");
        let mut path = template.replace("{app}", &APP.to_string());
        for (name, value) in filled {
            path = match *name {
                "?" => format!("{path}?{value}"),
                name => path.replace(&format!("{{{name}}}"), value),
            };
        }
        assert!(!path.contains('{'), "{path}");
        let body = requests(&described).find(|(name, _)| *name == example).map(|(_, body)| {
            let schema = &described["requestBody"]["content"]["application/json"]["schema"];
            self.holds(&format!("{operation} {example}"), schema, body);
            self.as_of_now(body.clone())
        });
        assert_eq!(body.is_some(), !example.is_empty(), "{operation}: no example {example}");
        self.untold.remove(operation);
        self.untold.remove(&format!("{operation} {example}"));

        let method: Method = method.to_uppercase().parse().unwrap();
        let Answer { status: answered, body: answer, .. } =
            self.world.call_with(Some(&self.world.key), method, &path, body.as_ref()).await;
        assert_eq!(answered.as_u16(), status, "{operation} {example}: {answer}");
        let described = &described["responses"][status.to_string()];
        assert!(described.is_object(), "{operation}: {status} is not in the document");
        if let Some(contents) = described["content"].as_object() {
            let content = contents.values().next().unwrap();
            self.holds(&format!("the answer of {operation} {example}"), &content["schema"], &answer);
            let shown = &content["example"];
            assert!(!shown.is_null(), "{operation}: {status} has no example");
            self.holds(&format!("the example of {operation}, {status}"), &content["schema"], shown);
            assert_eq!(fields(shown), fields(&answer), "the example of {operation}, {status}, has other fields");
        } else {
            assert_eq!(answer, "", "{operation}: an answer that is not in the document");
        }
        answer
    }

    #[track_caller]
    fn holds(&self, what: &str, schema: &Value, value: &Value) {
        let errors: Vec<String> = self
            .validator(schema)
            .iter_errors(value)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{what} is not what its schema says: {errors:#?}\n{value:#}");
    }

    /// An example with the times of now, and the secret that the stand-in knows.
    fn as_of_now(&self, mut body: Value) -> Value {
        for event in body.get_mut("events").and_then(Value::as_array_mut).into_iter().flatten() {
            event["event_time"] = json!(event["event_time"].as_i64().unwrap() + self.shift_ms);
        }
        if body.get("app_secret").is_some() {
            body["app_secret"] = json!(SECRET);
        }
        body
    }
}

/// The names of an object's fields; those that say nothing here are left out.
fn fields(value: &Value) -> BTreeSet<&str> {
    let optional = ["next", "replayed"];
    value.as_object().into_iter().flatten().map(|(name, _)| &**name).filter(|name| !optional.contains(name)).collect()
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn the_examples_tell_one_story_that_works(pool: PgPool) {
    let mut story = Story::start(pool).await;
    let certificate = CERTIFICATE.to_string();
    let on_certificate = [("certificate", &*certificate)];
    let (app, of_app) = ("/v1/apps/{app}", |what: &str| what.replace(" /", " /v1/apps/{app}/"));

    // What the fixture has made, away; then the same by the examples.
    story.call(&of_app("delete /certificates/{certificate}"), &on_certificate, "", 204).await;
    story.call(&format!("delete {app}"), &[], "", 204).await;
    story.call("post /v1/apps", &[], "app", 201).await;
    story.call("get /v1/apps", &[], "", 200).await;
    story.call(&format!("get {app}"), &[], "", 200).await;
    story.call(&format!("patch {app}"), &[], "settings", 200).await;
    story.call(&format!("patch {app}"), &[], "name", 200).await;
    story.call("get /v1/skip-reasons", &[], "", 200).await;
    for vendor in ["xiaomi", "apns", "huawei", "meizu", "vivo", "oppo"] {
        story.call(&of_app("post /certificates"), &[], vendor, 201).await;
    }
    story.call(&of_app("get /certificates"), &[], "", 200).await;
    story.call(&of_app("get /certificates/{certificate}"), &on_certificate, "", 200).await;
    story.call("post /v1/api-keys", &[], "viewer", 201).await;
    let key = story.call("post /v1/api-keys", &[], "chat", 201).await;

    story.call(&of_app("put /tencent-callback"), &[], "token", 200).await;
    story.call(&of_app("get /tencent-callback"), &[], "", 200).await;
    let query = crate::tencent::query(&story.world, APP, "a-token-of-your-own", "Android");
    for example in ["login", "disconnect"] {
        let answer = story.call("post /compat/tencent/callback", &[("?", &query)], example, 200).await;
        assert_eq!(answer["ActionStatus"], "OK", "{answer}");
    }
    story.call(&of_app("delete /tencent-callback"), &[], "", 204).await;

    for example in ["login", "killed"] {
        let answer = story.call(&of_app("post /session-events"), &[], example, 200).await;
        let results = answer["results"].as_array().unwrap();
        assert!(results.iter().all(|result| result["result"] == "applied"), "{answer}");
    }
    let bob = [("user", "bob"), ("device", "phone-b1")];
    story.call(&of_app("put /users/{user}/devices/{device}/binding"), &bob, "token", 200).await;
    story.call(&of_app("get /users/{user}/devices"), &bob, "", 200).await;

    story.call(&of_app("get /users/{user}/reachability"), &bob, "", 200).await;
    let conversation = [("user", "bob"), ("conversation", "room-7")];
    story.call(&of_app("put /users/{user}/preferences"), &bob, "nights", 200).await;
    story.call(&of_app("get /users/{user}/preferences"), &bob, "", 200).await;
    story.call(&of_app("delete /users/{user}/preferences"), &bob, "", 204).await;
    story.call(&of_app("put /users/{user}/conversations/{conversation}"), &conversation, "mentions", 200).await;
    story.call(&of_app("get /users/{user}/conversations"), &bob, "", 200).await;
    story.call(&of_app("delete /users/{user}/conversations/{conversation}"), &conversation, "", 204).await;

    story.call(&of_app("post /notifications:explain"), &[], "message", 200).await;
    let accepted = story.call(&of_app("post /notifications"), &[], "message", 202).await;
    assert_eq!(accepted["deliveries"], 1, "{accepted}");
    story.call(&of_app("post /notifications"), &[], "message", 200).await;
    story.call(&of_app("post /notifications"), &[], "group", 202).await;
    story.call(&of_app("post /notifications"), &[], "tencent", 202).await;
    story.call(&of_app("post /notifications:batch"), &[], "two", 200).await;
    story.world.idle().await;
    let notification = accepted["notification_id"].as_str().unwrap();
    let told =
        story.call(&of_app("get /notifications/{notification}"), &[("notification", notification)], "", 200).await;
    assert_eq!(told["outcomes"], json!({"accepted": 1}), "{told}");
    story.call(&of_app("get /trace"), &[("?", "user_id=bob")], "", 200).await;

    story.call(&of_app("post /certificates/{certificate}:pause"), &on_certificate, "", 200).await;
    let waits = story.world.sent("bob", json!({})).await;
    story.call(&of_app("delete /notifications/{notification}"), &[("notification", &waits)], "", 200).await;
    story.call(&of_app("post /certificates/{certificate}:resume"), &on_certificate, "", 200).await;
    story.call(&of_app("patch /certificates/{certificate}"), &on_certificate, "secret", 200).await;
    story.call(&of_app("patch /certificates/{certificate}"), &on_certificate, "limits", 200).await;

    story.call(&format!("patch {app}"), &[], "sessions", 200).await;
    story.call("get /v1/api-keys", &[], "", 200).await;
    story.call("delete /v1/api-keys/{key}", &[("key", key["key_id"].as_str().unwrap())], "", 204).await;
    story.call(&of_app("delete /users/{user}/devices/{device}/binding"), &bob, "", 204).await;
    // Without a live session it is kept for the login.
    let dave = [("user", "dave"), ("device", "phone-d1")];
    story.call(&of_app("put /users/{user}/devices/{device}/binding"), &dave, "token", 202).await;
    story.call("get /v1/audit-events", &[], "", 200).await;
    for path in ["/healthz", "/readyz", "/metrics"] {
        story.call(&format!("get {path}"), &[], "", 200).await;
    }
    assert!(story.untold.is_empty(), "not told: {:#?}", story.untold);
}
