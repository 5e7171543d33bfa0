//! The JSON body of a push, checked by section 6 of the document.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// What a body says. A rule that it breaks is an error; the vendor's answer to most of them is unknown.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Payload {
    pub(super) title: Option<String>,
    pub(super) subtitle: Option<String>,
    pub(super) body: Option<String>,
    pub(super) badge: Option<i64>,
    pub(super) sound: Option<String>,
    pub(super) thread_id: Option<String>,
    pub(super) has_alert: bool,
    /// The app's own members beside `aps`: texts as they are, others as JSON.
    pub(super) app: BTreeMap<String, String>,
}

impl Payload {
    /// The app's own data as one text: the member `ext` where there is one, else all members as JSON.
    pub(super) fn app_data(&self) -> Option<String> {
        match self.app.get("ext") {
            Some(ext) => Some(ext.clone()),
            None if self.app.is_empty() => None,
            None => serde_json::to_string(&self.app).ok(),
        }
    }
}

type Broken = &'static str;

pub(super) fn read(body: &[u8], push_type: Option<&str>, warnings: &mut Vec<String>) -> Result<Payload, Broken> {
    if std::str::from_utf8(body).is_err() {
        return Err("payload is not UTF-8");
    }
    let Ok(Value::Object(members)) = serde_json::from_slice(body) else {
        return Err("payload is no JSON object");
    };
    let aps = match members.get("aps") {
        Some(Value::Object(aps)) => aps,
        Some(_) => return Err("aps is no object"),
        None => return Err("payload has no aps"),
    };
    let mut payload = Payload::default();
    for (key, value) in aps {
        read_aps(&mut payload, key, value, push_type, warnings)?;
    }
    check_kind(&payload, aps, push_type)?;
    if aps.contains_key("mutable-content") && !payload.has_alert {
        warnings.push("mutable-content without an alert does nothing".into());
    }
    if escapes_text(body) {
        warnings.push("text in \\u escapes: six bytes for what needs three".into());
    }
    payload.app =
        members.into_iter().filter(|member| member.0 != "aps").map(|(key, value)| (key, text(value))).collect();
    Ok(payload)
}

fn read_aps(
    payload: &mut Payload,
    key: &str,
    value: &Value,
    push_type: Option<&str>,
    warnings: &mut Vec<String>,
) -> Result<(), Broken> {
    match (key, value) {
        ("alert", Value::String(body)) => {
            payload.has_alert = true;
            payload.body = Some(body.clone());
        }
        ("alert", Value::Object(alert)) => read_alert(payload, alert, warnings)?,
        ("alert", _) => return Err("alert is no text and no object"),
        ("badge", value) => {
            let badge = value.as_i64().filter(|badge| *badge >= 0).ok_or("badge is no integer from 0")?;
            payload.badge = Some(badge);
        }
        ("sound", Value::String(sound)) => payload.sound = Some(sound.clone()),
        ("sound", Value::Object(sound)) => payload.sound = Some(read_sound(sound)?),
        ("sound", _) => return Err("sound is no text and no object"),
        ("thread-id", Value::String(thread)) => payload.thread_id = Some(thread.clone()),
        ("thread-id", _) => return Err("thread-id is no text"),
        ("category" | "target-content-id" | "filter-criteria", value) if !value.is_string() => {
            return Err("category, target-content-id or filter-criteria is no text");
        }
        ("content-available" | "mutable-content", value) if value.as_i64() != Some(1) => {
            return Err("content-available or mutable-content is not 1");
        }
        ("interruption-level", value) => {
            let level = value.as_str().unwrap_or_default();
            if !matches!(level, "passive" | "active" | "time-sensitive" | "critical") {
                return Err("interruption-level is unknown");
            }
        }
        ("relevance-score", value) if !value.as_f64().is_some_and(|score| (0.0..=1.0).contains(&score)) => {
            return Err("relevance-score is not in 0..1");
        }
        ("url-args", value) if !value.is_array() => return Err("url-args is no array"),
        (
            "category" | "target-content-id" | "filter-criteria" | "content-available" | "mutable-content"
            | "relevance-score" | "url-args",
            _,
        ) => {}
        (
            "timestamp" | "event" | "content-state" | "stale-date" | "dismissal-date" | "attributes-type"
            | "attributes",
            _,
        ) if push_type == Some("liveactivity") => {}
        (other, _) => warnings.push(format!("aps has no {other:?}: the app's own data belongs beside aps")),
    }
    Ok(())
}

fn read_alert(payload: &mut Payload, alert: &Map<String, Value>, warnings: &mut Vec<String>) -> Result<(), Broken> {
    payload.has_alert = true;
    for (key, value) in alert {
        match key.as_str() {
            "title" | "subtitle" | "body" | "launch-image" | "title-loc-key" | "subtitle-loc-key" | "loc-key"
            | "action-loc-key" => {
                let given = value.as_str().ok_or("a text of alert is no text")?.to_owned();
                match key.as_str() {
                    "title" | "title-loc-key" => payload.title = Some(given),
                    "subtitle" | "subtitle-loc-key" => payload.subtitle = Some(given),
                    "body" | "loc-key" => payload.body = Some(given),
                    _ => {}
                }
            }
            "title-loc-args" | "subtitle-loc-args" | "loc-args" => {
                let are_texts = value.as_array().is_some_and(|args| args.iter().all(Value::is_string));
                if !are_texts {
                    return Err("loc-args of alert are no texts");
                }
            }
            other => warnings.push(format!("alert has no {other:?}")),
        }
    }
    Ok(())
}

fn read_sound(sound: &Map<String, Value>) -> Result<String, Broken> {
    let critical = sound.get("critical").is_none_or(|critical| matches!(critical.as_i64(), Some(0 | 1)));
    let volume = sound.get("volume").is_none_or(|volume| volume.as_f64().is_some_and(|v| (0.0..=1.0).contains(&v)));
    if !critical || !volume {
        return Err("critical or volume of sound is wrong");
    }
    Ok(sound.get("name").and_then(Value::as_str).ok_or("sound has no name")?.to_owned())
}

/// What a push of this type must and must not hold: the vendor may reject, delay or drop what does not fit.
fn check_kind(payload: &Payload, aps: &Map<String, Value>, push_type: Option<&str>) -> Result<(), Broken> {
    let is_seen = payload.has_alert || payload.badge.is_some() || payload.sound.is_some();
    match push_type {
        Some("alert") if !is_seen => Err("alert push without alert, badge and sound"),
        Some("background") if is_seen => Err("background push with alert, badge or sound"),
        Some("background") if !aps.contains_key("content-available") => {
            Err("background push without content-available")
        }
        Some("liveactivity") => {
            let event = aps.get("event").and_then(Value::as_str).unwrap_or_default();
            let is_whole = aps.get("timestamp").is_some_and(Value::is_i64)
                && matches!(event, "start" | "update" | "end")
                && aps.get("content-state").is_some_and(Value::is_object);
            if is_whole { Ok(()) } else { Err("live activity without timestamp, event or content-state") }
        }
        _ => Ok(()),
    }
}

fn text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// Whether a character outside ASCII is written as `\u` and four digits.
fn escapes_text(body: &[u8]) -> bool {
    let wide = |window: &[u8]| {
        window
            .strip_prefix(b"\\u")
            .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit) && !digits.starts_with(b"00"))
    };
    body.windows(6).any(wide)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(body: &str, push_type: &str) -> Result<Vec<String>, Broken> {
        let mut warnings = Vec::new();
        read(body.as_bytes(), Some(push_type), &mut warnings).map(|_| warnings)
    }

    #[test]
    fn a_rich_payload_is_read_whole() {
        let body = r#"{"aps":{"alert":{"title":"A","subtitle":"s","body":"晚上","title-loc-args":["x"]},"badge":3,
            "sound":{"critical":1,"name":"ding","volume":0.5},"thread-id":"c1","mutable-content":1,"category":"m",
            "interruption-level":"time-sensitive","relevance-score":0.5},"ext":"{\"conv\":\"c1\"}","n":7}"#;
        let mut warnings = Vec::new();
        let payload = read(body.as_bytes(), Some("alert"), &mut warnings).unwrap();
        assert_eq!((payload.title.as_deref(), payload.body.as_deref()), (Some("A"), Some("晚上")));
        assert_eq!((payload.badge, payload.sound.as_deref()), (Some(3), Some("ding")));
        assert_eq!(payload.app_data().as_deref(), Some(r#"{"conv":"c1"}"#));
        assert_eq!((payload.app["n"].as_str(), warnings), ("7", vec![]));
        let other = read(br#"{"aps":{"alert":"x"},"a":"1","b":"2"}"#, Some("alert"), &mut Vec::new()).unwrap();
        assert_eq!(other.app_data().as_deref(), Some(r#"{"a":"1","b":"2"}"#));
    }

    #[test]
    fn each_broken_rule_has_its_name() {
        let aps = |aps: &str| format!(r#"{{"aps":{{{aps}}}}}"#);
        let cases = [
            ("[]".to_owned(), "payload is no JSON object"),
            ("{".to_owned(), "payload is no JSON object"),
            (r#"{"a":1}"#.to_owned(), "payload has no aps"),
            (r#"{"aps":"x"}"#.to_owned(), "aps is no object"),
            (aps(r#""alert":1"#), "alert is no text and no object"),
            (aps(r#""alert":{"title":1}"#), "a text of alert is no text"),
            (aps(r#""alert":{"loc-args":[1]}"#), "loc-args of alert are no texts"),
            (aps(r#""badge":"3""#), "badge is no integer from 0"),
            (aps(r#""badge":-1"#), "badge is no integer from 0"),
            (aps(r#""badge":1.5"#), "badge is no integer from 0"),
            (aps(r#""sound":1"#), "sound is no text and no object"),
            (aps(r#""sound":{"critical":1}"#), "sound has no name"),
            (aps(r#""sound":{"name":"a","volume":2}"#), "critical or volume of sound is wrong"),
            (aps(r#""thread-id":1"#), "thread-id is no text"),
            (aps(r#""category":1"#), "category, target-content-id or filter-criteria is no text"),
            (aps(r#""mutable-content":true"#), "content-available or mutable-content is not 1"),
            (aps(r#""interruption-level":"loud""#), "interruption-level is unknown"),
            (aps(r#""relevance-score":2"#), "relevance-score is not in 0..1"),
            (aps(r#""url-args":"a""#), "url-args is no array"),
            (aps(""), "alert push without alert, badge and sound"),
        ];
        for (body, wanted) in cases {
            assert_eq!(rule(&body, "alert"), Err(wanted), "{body}");
        }
        assert_eq!(
            rule(&aps(r#""content-available":1,"badge":1"#), "background"),
            Err("background push with alert, badge or sound")
        );
        assert_eq!(rule(&aps(""), "background"), Err("background push without content-available"));
        assert_eq!(rule(&aps(r#""content-available":1"#), "background"), Ok(vec![]));
        let live = r#""timestamp":1,"event":"update","content-state":{}"#;
        assert_eq!(rule(&aps(live), "liveactivity"), Ok(vec![]));
        assert!(rule(&aps(r#""timestamp":1,"event":"stop","content-state":{}"#), "liveactivity").is_err());
        assert_eq!(read(b"\xff", None, &mut Vec::new()), Err("payload is not UTF-8"));
    }

    #[test]
    fn what_is_only_odd_is_a_warning() {
        let warnings = rule(r#"{"aps":{"alert":{"titel":"x"},"conv":"c"}}"#, "alert").unwrap();
        assert_eq!(warnings, ["alert has no \"titel\"", "aps has no \"conv\": the app's own data belongs beside aps"]);
        assert!(rule(r#"{"aps":{"badge":1,"mutable-content":1}}"#, "alert").unwrap()[0].contains("mutable-content"));
        assert!(rule(r#"{"aps":{"alert":"\u665a"}}"#, "alert").unwrap()[0].contains("escapes"));
        assert_eq!(rule(r#"{"aps":{"alert":"a\u0001"}}"#, "alert"), Ok(vec![]));
    }
}
