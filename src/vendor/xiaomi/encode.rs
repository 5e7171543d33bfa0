//! The form of `POST /v3/message/regid`.

use serde_json::{Map, Value};
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};
use url::form_urlencoded::Serializer;

use super::account::{Account, Click, Defaults};
use crate::domain::notification::{AndroidSound, Notification};
use crate::vendor::template::{as_text, filled};
use crate::vendor::{Push, Target};

/// Own `extra.*` pairs: at most this many, and this many characters in all.
const MAX_EXTRA_PAIRS: usize = 10;
const MAX_EXTRA_CHARS: usize = 1_024;
/// `notify_type` bits: vibration and light, no sound.
const SILENT: &str = "6";
/// A template value has at most this many characters.
const MAX_TEMPLATE_CHARS: usize = 128;
/// Fills a template variable that nothing else fills: values must not be blank.
const EMPTY_TEMPLATE_VALUE: &str = "-";
/// `extra.*` keys with a meaning of their own, which the app's data must not set.
const RESERVED_EXTRAS: [&str; 26] = [
    "channel_id",
    "channel_name",
    "channel_description",
    "template_id",
    "template_param",
    "notify_foreground",
    "notify_effect",
    "intent_uri",
    "web_uri",
    "sound_uri",
    "ticker",
    "badge",
    "only_send_once",
    "flow_control",
    "jobkey",
    "callback",
    "callback.param",
    "callback.type",
    "locale",
    "locale_not_in",
    "model",
    "model_not_in",
    "app_version",
    "app_version_not_in",
    "connpt",
    "sound_url",
];

/// The message class: of the message, else of the certificate.
pub(super) fn channel_id<'a>(defaults: &'a Defaults, notification: &'a Notification) -> Option<&'a str> {
    notification.android_text(|info| info.xiaomi_channel_id.as_deref()).or(defaults.channel_id.as_deref())
}

/// The request body. Pure.
pub(super) fn form(account: &Account, defaults: &Defaults, push: &Push, targets: &[Target]) -> String {
    let notification = &*push.notification;
    let tokens: Vec<&str> = targets.iter().map(|target| target.token.as_str()).collect();
    let sound = notification.android_sound(defaults.sound.as_deref());
    let mut form = Serializer::new(String::with_capacity(512 + tokens.len() * 72));
    form.append_pair("registration_id", &tokens.join(","))
        .append_pair("restricted_package_name", &account.package_name)
        .append_pair("pass_through", "0")
        .append_pair("notify_type", if sound == AndroidSound::None { SILENT } else { "-1" })
        .append_pair("notify_id", &notification.collapse_key().to_string())
        .append_pair("title", &push.title)
        .append_pair("description", &push.body);
    let data = notification.app_data();
    if let Some(payload) = payload(&data) {
        form.append_pair("payload", &payload);
    }
    if push.time_to_live.is_zero() {
        form.append_pair("extra.only_send_once", "1");
    } else {
        form.append_pair("time_to_live", &push.time_to_live.as_millis().to_string());
    }
    if let Some(channel) = channel_id(defaults, notification) {
        form.append_pair("extra.channel_id", channel);
    }
    let shows_in_foreground = defaults.notify_foreground || notification.content.force;
    form.append_pair("extra.notify_foreground", if shows_in_foreground { "1" } else { "0" });
    append_click(&mut form, defaults);
    append_sound(&mut form, account, sound);
    append_template(&mut form, defaults, push);
    for (key, value) in extras(&data) {
        form.append_pair(&format!("extra.{key}"), &value);
    }
    form.finish()
}

fn append_click(form: &mut Serializer<'_, String>, defaults: &Defaults) {
    match defaults.click.as_ref().unwrap_or(&Click::Launcher) {
        Click::Callback => {}
        Click::Launcher => {
            form.append_pair("extra.notify_effect", "1");
        }
        Click::Activity { intent_uri } => {
            form.append_pair("extra.notify_effect", "2").append_pair("extra.intent_uri", intent_uri);
        }
        Click::Web { web_uri } => {
            form.append_pair("extra.notify_effect", "3").append_pair("extra.web_uri", web_uri);
        }
    }
}

fn append_sound(form: &mut Serializer<'_, String>, account: &Account, sound: AndroidSound<'_>) {
    if let AndroidSound::Resource(sound) = sound {
        form.append_pair("extra.sound_uri", &format!("android.resource://{}/raw/{sound}", &*account.package_name));
    }
}

fn append_template(form: &mut Serializer<'_, String>, defaults: &Defaults, push: &Push) {
    let notification = &*push.notification;
    let own = notification.android_text(|info| info.xiaomi_template_id.as_deref());
    let Some(template) = own.or(defaults.template_id.as_deref()) else { return };
    let given = notification.android().and_then(|info| as_object(info.xiaomi_template_param.as_ref()?));
    let values = filled(given.as_ref(), &defaults.template_params, |source| source.full(push), template_value);
    form.append_pair("extra.template_id", template)
        .append_pair("extra.template_param", &Value::Object(values).to_string());
}

/// Without emoji and symbols, 1..=128 characters, not blank.
fn template_value(text: &str) -> String {
    let plain: String = text.chars().filter(|c| !is_forbidden_in_templates(*c)).take(MAX_TEMPLATE_CHARS).collect();
    if plain.trim().is_empty() { EMPTY_TEMPLATE_VALUE.to_owned() } else { plain }
}

fn is_forbidden_in_templates(c: char) -> bool {
    matches!(c.general_category(), GeneralCategory::OtherSymbol | GeneralCategory::Unassigned)
        || matches!(c, '\u{200d}' | '\u{fe0e}' | '\u{fe0f}' | '\u{20e3}' | '\u{1f3fb}'..='\u{1f3ff}')
}

/// One text under `ext` is the payload itself; anything else is its JSON.
fn payload(data: &Map<String, Value>) -> Option<String> {
    match (data.len(), data.get("ext")) {
        (0, _) => None,
        (1, Some(Value::String(ext))) => Some(ext.clone()),
        _ => Some(Value::Object(data.clone()).to_string()),
    }
}

/// The same data key by key, as long as it keeps inside Xiaomi's bounds; else none of it.
fn extras(data: &Map<String, Value>) -> Vec<(&str, String)> {
    let pairs: Vec<(&str, String)> = data
        .iter()
        .filter(|(key, value)| !RESERVED_EXTRAS.contains(&key.as_str()) && !value.is_null())
        .map(|(key, value)| (key.as_str(), as_text(value)))
        .filter(|(_, value)| !value.is_empty())
        .collect();
    let chars: usize = pairs.iter().map(|(key, value)| key.chars().count() + value.encode_utf16().count()).sum();
    if pairs.len() > MAX_EXTRA_PAIRS || chars > MAX_EXTRA_CHARS { Vec::new() } else { pairs }
}

/// An object, or a text that holds one.
fn as_object(value: &Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(map) => Some(map.clone()),
        Value::String(text) => serde_json::from_str(text).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vendor::account::AccountFields;
    use crate::vendor::testing::{self, push};

    fn account() -> Account {
        serde_json::from_value(serde_json::json!({
            "package_name": "com.example.chat", "app_id": "2882303761500000001", "app_secret": "sim-mi-secret==",
        }))
        .unwrap()
    }

    fn targets() -> Vec<Target> {
        testing::targets(&[
            "//9TSU0tWElBT01JLVRPS0VOLTAwMDAwMDAwMDErL3g=",
            "+/tTSU0tWElBT01JLVRPS0VOLTAwMDAwMDAwMDIrL3g=",
        ])
    }

    fn defaults(value: Value) -> Defaults {
        let defaults: Defaults = serde_json::from_value(value).unwrap();
        account().check(&defaults).unwrap();
        defaults
    }

    fn pairs(form: &str) -> Vec<(String, String)> {
        url::form_urlencoded::parse(form.as_bytes()).into_owned().collect()
    }

    fn value(form: &str, name: &str) -> Option<String> {
        pairs(form).into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// The worked request of the vendor document, without the receipt request. `notify_id` is the document's example
    /// number there and the collapse key here.
    #[test]
    fn the_worked_request_is_reproduced_byte_for_byte() {
        let push = push(&serde_json::json!({
            "offline_push_info": {"Ext": r#"{"cid":"c-1024","mid":"m-77"}"#},
            "conversation_id": "c-1024",
        }));
        let form = form(&account(), &defaults(serde_json::json!({"channel_id": "134567"})), &push, &targets());
        let expected = "registration_id=%2F%2F9TSU0tWElBT01JLVRPS0VOLTAwMDAwMDAwMDErL3g%3D%2C%2B%2FtTSU0tWElBT01JLVRP\
            S0VOLTAwMDAwMDAwMDIrL3g%3D&restricted_package_name=com.example.chat&pass_through=0&notify_type=-1&notify_id=\
            NOTIFY_ID&title=%E5%B0%8F%E7%BA%A2&description=%E6%99%9A%E4%B8%8A%E4%B8%80%E8%B5%B7%E5%90%83%E9%A5%AD%E5%90%97\
            %EF%BC%9F&payload=%7B%22cid%22%3A%22c-1024%22%2C%22mid%22%3A%22m-77%22%7D&time_to_live=86400000&\
            extra.channel_id=134567&extra.notify_foreground=0&extra.notify_effect=1";
        let expected = expected.replace("NOTIFY_ID", &push.notification.collapse_key().to_string());
        let (documented, own) = form.split_at(expected.len());
        assert_eq!(documented, expected);
        assert_eq!(own, "&extra.ext=%7B%22cid%22%3A%22c-1024%22%2C%22mid%22%3A%22m-77%22%7D");
    }

    #[test]
    fn the_worked_template_fields_are_reproduced_byte_for_byte() {
        let defaults = defaults(serde_json::json!({
            "channel_id": "134567", "template_id": "P10001", "template_params": {"sender": "title", "text": "body"},
        }));
        let form = form(&account(), &defaults, &push(&serde_json::json!({})), &targets());
        assert!(form.ends_with(
            "&extra.template_id=P10001&extra.template_param=%7B%22sender%22%3A%22%E5%B0%8F%E7%BA%A2%22%2C%22text%22%3A%22\
            %E6%99%9A%E4%B8%8A%E4%B8%80%E8%B5%B7%E5%90%83%E9%A5%AD%E5%90%97%EF%BC%9F%22%7D"
        ));
    }

    #[test]
    fn template_values_lose_emoji_and_are_never_blank_or_too_long() {
        for (text, expected) in [("hi 👍🏽!", "hi !"), ("😀", "-"), ("", "-"), ("  ", "-"), ("5 € × 2", "5 € × 2")]
        {
            assert_eq!(template_value(text), expected, "{text}");
        }
        assert_eq!(template_value(&"好".repeat(200)).chars().count(), 128);
    }

    #[test]
    fn the_messages_own_options_beat_the_certificates() {
        let defaults = defaults(serde_json::json!({"channel_id": "from-certificate", "sound": "ding"}));
        let push = push(&serde_json::json!({"offline_push_info": {"AndroidInfo": {
            "XiaoMiChannelID": "from-message", "Sound": "dong", "XiaoMiTemplateId": "P1",
            "XiaoMiTemplateParam": "{\"sender\":\"Bob\"}",
        }}}));
        let form = form(&account(), &defaults, &push, &targets());
        assert_eq!(value(&form, "extra.channel_id").as_deref(), Some("from-message"));
        assert_eq!(channel_id(&defaults, &push.notification), Some("from-message"));
        assert_eq!(value(&form, "extra.sound_uri").as_deref(), Some("android.resource://com.example.chat/raw/dong"));
        assert_eq!(value(&form, "extra.template_param").as_deref(), Some(r#"{"sender":"Bob"}"#));
    }

    #[test]
    fn app_data_goes_both_ways_inside_the_bounds_and_never_sets_a_key_of_xiaomis() {
        let small = push(&serde_json::json!({"data": {"cid": "c1", "n": 1, "callback": "http://evil.example"}}));
        let small = form(&account(), &Defaults::default(), &small, &targets());
        assert_eq!(value(&small, "payload").as_deref(), Some(r#"{"callback":"http://evil.example","cid":"c1","n":1}"#));
        assert_eq!(value(&small, "extra.cid").as_deref(), Some("c1"));
        assert_eq!(value(&small, "extra.n").as_deref(), Some("1"));
        assert_eq!(value(&small, "extra.callback"), None);
        let many: Map<String, Value> = (0..11).map(|n| (format!("k{n}"), n.into())).collect();
        let many = form(&account(), &Defaults::default(), &push(&serde_json::json!({"data": many})), &targets());
        assert!(value(&many, "payload").is_some());
        assert_eq!(value(&many, "extra.k0"), None, "eleven pairs are one too many");
    }

    #[test]
    fn time_to_live_zero_is_sent_once_and_clicks_have_their_fields() {
        let once = push(&serde_json::json!({"ttl_s": 0}));
        let web = defaults(serde_json::json!({"click": {"action": "web", "web_uri": "https://example.com/"}}));
        let form = form(&account(), &web, &once, &targets());
        assert_eq!(value(&form, "extra.only_send_once").as_deref(), Some("1"));
        assert_eq!(value(&form, "time_to_live"), None);
        assert_eq!(value(&form, "extra.notify_effect").as_deref(), Some("3"));
        assert_eq!(value(&form, "extra.web_uri").as_deref(), Some("https://example.com/"));
    }
}
