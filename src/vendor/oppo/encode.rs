//! The forms of `unicast` and `unicast_batch`: JSON texts inside form fields.

use serde::Serialize;
use serde_json::{Map, Value};
use url::form_urlencoded::Serializer;

use super::account::{Click, Defaults};
use crate::domain::notification::Notification;
use crate::domain::offline_push_info::AndroidInfo;
use crate::vendor::fit::TextLimit;
use crate::vendor::template::{as_text, filled};
use crate::vendor::{Push, Target};

/// Classes that are marketing; the rest is communication and service, or not known.
const MARKETING: [&str; 4] = ["NEWS", "CONTENT", "MARKETING", "SOCIAL"];
/// A registration id, as opposed to an alias.
const REGISTRATION_ID: u8 = 2;
/// Looks of a notification.
const STANDARD: u8 = 1;
const LONG_TEXT: u8 = 2;
/// Characters of a long text.
const LONG_TEXT_CHARS: usize = 128;
/// Characters of the app's own data.
const MAX_DATA_CHARS: usize = 4_000;
/// Seconds a message is kept for an offline phone: three days satisfy older and newer documents.
const MAX_TIME_S: u64 = 259_200;

#[derive(Serialize)]
struct Message<'a> {
    target_type: u8,
    target_value: &'a str,
    /// The phone drops the message when it has another id by now: nothing for a new owner.
    verify_registration_id: bool,
    notification: &'a Notice<'a>,
}

#[derive(Serialize)]
struct Notice<'a> {
    /// The dedupe key: shown once for each target.
    app_message_id: String,
    style: u8,
    title: &'a str,
    content: &'a str,
    click_action_type: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    click_action_activity: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    click_action_url: Option<&'a str>,
    /// The app's own data: a text that holds an object of texts.
    #[serde(skip_serializing_if = "Option::is_none")]
    action_parameters: Option<String>,
    off_line: bool,
    off_line_ttl: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notify_level: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    private_msg_template_id: Option<&'a str>,
    /// A text that holds an object, the reading that the sources agree on most.
    #[serde(skip_serializing_if = "Option::is_none")]
    private_title_parameters: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    private_content_parameters: Option<String>,
    notify_id: i32,
}

/// The class: of the message, else of the certificate. There is none built in: OPPO refuses a class that it did not approve.
fn category<'a>(defaults: &'a Defaults, notification: &'a Notification) -> Option<&'a str> {
    notification.android_text(|info| info.oppo_category.as_deref()).or(defaults.category.as_deref())
}

/// What a daily quota is for: marketing, service, or messages without a class.
pub(super) fn message_class<'a>(defaults: &'a Defaults, notification: &'a Notification) -> &'static str {
    match category(defaults, notification) {
        None => "default",
        Some(category) if MARKETING.contains(&category) => "marketing",
        Some(_) => "service",
    }
}

/// The limit of the text, by the look of the notification.
pub(super) fn body_limit(notification: &Notification, standard: TextLimit) -> TextLimit {
    if style(notification) == LONG_TEXT { TextLimit { max: LONG_TEXT_CHARS, ..standard } } else { standard }
}

fn style(notification: &Notification) -> u8 {
    match notification.android().and_then(|info| info.push_style) {
        Some(1) => LONG_TEXT,
        _ => STANDARD,
    }
}

/// Leaves data out that OPPO would refuse the message for.
pub(super) fn fit_data(push: &mut Push) {
    let chars = action_parameters(&push.notification).map_or(0, |data| data.chars().count());
    if chars > MAX_DATA_CHARS {
        push.drop_data();
    }
}

fn action_parameters(notification: &Notification) -> Option<String> {
    let texts = notification.app_data().iter().map(|(name, value)| (name.clone(), as_text(value).into())).collect();
    let texts: Map<String, Value> = texts;
    (!texts.is_empty()).then(|| Value::Object(texts).to_string())
}

/// The form for one device. Pure.
pub(super) fn unicast(token: &str, defaults: &Defaults, push: &Push, target: &Target) -> String {
    form(token, "message", &message(&mut notice(defaults, push), target))
}

/// The form for several, each with a message of its own: the dedupe key is never shared by two users. Pure.
pub(super) fn unicast_batch(token: &str, defaults: &Defaults, push: &Push, targets: &[Target]) -> String {
    let mut notice = notice(defaults, push);
    let mut messages = String::with_capacity(targets.len() * 512);
    for target in targets {
        messages.push(if messages.is_empty() { '[' } else { ',' });
        messages.push_str(&message(&mut notice, target));
    }
    messages.push(']');
    form(token, "messages", &messages)
}

fn form(token: &str, field: &str, json: &str) -> String {
    Serializer::new(String::with_capacity(json.len() * 2 + 64))
        .append_pair("auth_token", token)
        .append_pair(field, json)
        .finish()
}

fn message(notice: &mut Notice<'_>, target: &Target) -> String {
    notice.app_message_id = target.delivery_id.0.to_string();
    let message = Message {
        target_type: REGISTRATION_ID,
        target_value: &target.token,
        verify_registration_id: true,
        notification: notice,
    };
    // A struct of texts and numbers always serialises.
    serde_json::to_string(&message).unwrap_or_default()
}

/// What is the same for all devices.
fn notice<'a>(defaults: &'a Defaults, push: &'a Push) -> Notice<'a> {
    let notification = &*push.notification;
    let (click_action_type, click_action_activity, click_action_url) =
        match defaults.click.as_ref().unwrap_or(&Click::Launcher) {
            Click::Launcher => (0, None, None),
            Click::Page { intent_action } => (1, Some(&**intent_action), None),
            Click::Web { web_uri } => (2, None, Some(&**web_uri)),
            Click::Activity { class_name } => (4, Some(&**class_name), None),
            Click::Link { uri } => (5, None, Some(&**uri)),
        };
    let category = category(defaults, notification);
    let own_level = notification.android().and_then(|info| info.oppo_notify_level);
    let own_template = notification.android_text(|info| info.oppo_private_msg_template_id.as_deref());
    let template = own_template
        .or(defaults.private_msg_template_id.as_deref())
        .filter(|_| message_class(defaults, notification) == "service");
    // The certificate's variables are those of its own template.
    let is_certificates =
        template.is_some_and(|template| defaults.private_msg_template_id.as_deref() == Some(template));
    let nothing = Map::new();
    let parameters = |given: fn(&AndroidInfo) -> Option<&Map<String, Value>>, named| {
        let given = notification.android().and_then(given).or((!is_certificates).then_some(&nothing));
        let values = filled(given, named, |source| source.shown(push), str::to_owned);
        (template.is_some() && !values.is_empty()).then(|| Value::Object(values).to_string())
    };
    Notice {
        app_message_id: String::new(),
        style: style(notification),
        title: &push.title,
        content: &push.body,
        click_action_type,
        click_action_activity,
        click_action_url,
        action_parameters: if push.is_data_dropped() { None } else { action_parameters(notification) },
        off_line: !push.time_to_live.is_zero(),
        off_line_ttl: seconds(push),
        channel_id: notification
            .android_text(|info| info.oppo_channel_id.as_deref())
            .or(defaults.channel_id.as_deref()),
        category,
        // Without a class OPPO refuses it.
        notify_level: own_level.or(defaults.notify_level).filter(|_| category.is_some()),
        private_msg_template_id: template,
        private_title_parameters: parameters(
            |info| info.oppo_private_title_parameters.as_ref(),
            &defaults.private_title_params,
        ),
        private_content_parameters: parameters(
            |info| info.oppo_private_content_parameters.as_ref(),
            &defaults.private_content_params,
        ),
        notify_id: notification.collapse_key(),
    }
}

/// What is left, rounded up into the range that older and newer documents take.
fn seconds(push: &Push) -> u64 {
    let left = push.time_to_live;
    (left.as_secs() + u64::from(left.subsec_nanos() > 0)).clamp(1, MAX_TIME_S)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::vendor::fit::Counting;
    use crate::vendor::testing::{push, targets};

    const ID: &str = "OPPO_CN_b6bbd94b59cdb5df8391642c1509b7fe";

    fn defaults(value: Value) -> Defaults {
        serde_json::from_value(value).unwrap()
    }

    /// The JSON text of a form's second field.
    fn second_field(form: &str) -> String {
        url::form_urlencoded::parse(form.as_bytes()).nth(1).unwrap().1.into_owned()
    }

    fn sent(defaults: &Value, push: &Push) -> Value {
        let form = unicast("t", &self::defaults(defaults.clone()), push, &targets(&[ID])[0]);
        let message: Value = serde_json::from_str(&second_field(&form)).unwrap();
        message["notification"].clone()
    }

    #[test]
    fn the_worked_request_byte_for_byte() {
        const DOCUMENTED: &str = r#"{"target_type":2,"target_value":"OPPO_CN_b6bbd94b59cdb5df8391642c1509b7fe","verify_registration_id":true,"notification":{"app_message_id":"01JD8Q6W9Z3X5Y7R2T4V6B8N0M","style":1,"title":"Li Wei","content":"晚上七点开会","click_action_type":5,"click_action_url":"imapp://chat/c_8801","action_parameters":"{\"conv\":\"c_8801\",\"seq\":\"42\"}","off_line":true,"off_line_ttl":86400,"channel_id":"im_message","category":"IM","notify_level":2,"private_msg_template_id":"tpl_001","call_back_url":"https://push.example.com/r/oppo/9f2c","call_back_parameter":"k1:01JD8Q6W"}}"#;
        const ON_THE_WIRE: &str = "auth_token=58ad47319e8d725350a5afd5&message=%7B%22target_type%22%3A2%2C%22target_value%22%3A%22OPPO_CN_b6bbd94b59cdb5df8391642c1509b7fe%22%2C%22verify_registration_id%22%3Atrue%2C%22notification%22%3A%7B%22app_message_id%22%3A%2201JD8Q6W9Z3X5Y7R2T4V6B8N0M%22%2C%22style%22%3A1%2C%22title%22%3A%22Li+Wei%22%2C%22content%22%3A%22%E6%99%9A%E4%B8%8A%E4%B8%83%E7%82%B9%E5%BC%80%E4%BC%9A%22%2C%22click_action_type%22%3A5%2C%22click_action_url%22%3A%22imapp%3A%2F%2Fchat%2Fc_8801%22%2C%22action_parameters%22%3A%22%7B%5C%22conv%5C%22%3A%5C%22c_8801%5C%22%2C%5C%22seq%5C%22%3A%5C%2242%5C%22%7D%22%2C%22off_line%22%3Atrue%2C%22off_line_ttl%22%3A86400%2C%22channel_id%22%3A%22im_message%22%2C%22category%22%3A%22IM%22%2C%22notify_level%22%3A2%2C%22private_msg_template_id%22%3A%22tpl_001%22%2C%22call_back_url%22%3A%22https%3A%2F%2Fpush.example.com%2Fr%2Foppo%2F9f2c%22%2C%22call_back_parameter%22%3A%22k1%3A01JD8Q6W%22%7D%7D";
        assert_eq!(form("58ad47319e8d725350a5afd5", "message", DOCUMENTED), ON_THE_WIRE);
        assert_eq!(ON_THE_WIRE.len(), 915);
        let defaults = defaults(json!({"channel_id": "im_message", "category": "IM", "notify_level": 2,
            "private_msg_template_id": "tpl_001", "click": {"action": "link", "uri": "imapp://chat/c_8801"}}));
        let push = push(&json!({"title": "Li Wei", "body": "晚上七点开会", "conversation_id": "c_8801",
            "data": {"conv": "c_8801", "seq": "42"}}));
        let targets = targets(&[ID]);
        // The document's, with our ids; a collapse key in the place of the receipts that are not asked for.
        let (head, _) = DOCUMENTED.split_once(r#","call_back_url""#).unwrap();
        let expected = format!(r#"{head},"notify_id":{}}}}}"#, push.notification.collapse_key())
            .replace("01JD8Q6W9Z3X5Y7R2T4V6B8N0M", &targets[0].delivery_id.0.to_string());
        assert_eq!(second_field(&unicast("t", &defaults, &push, &targets[0])), expected);
    }

    #[test]
    fn each_message_of_a_batch_has_its_own_dedupe_key() {
        let targets = targets(&["CN_1", "CN_2"]);
        let form = unicast_batch("t", &Defaults::default(), &push(&json!({})), &targets);
        assert!(form.starts_with("auth_token=t&messages=%5B%7B"));
        let messages: Value = serde_json::from_str(&second_field(&form)).unwrap();
        for (message, target) in messages.as_array().unwrap().iter().zip(&targets) {
            assert_eq!(message["target_value"], target.token.as_str());
            assert_eq!(message["notification"]["app_message_id"], target.delivery_id.0.to_string());
        }
        assert_eq!(messages.as_array().unwrap().len(), 2);
    }

    #[test]
    fn the_template_is_filled_from_the_texts_for_service_messages() {
        let certificate = json!({"category": "IM", "private_msg_template_id": "tpl",
            "private_title_params": {"who": "title"}, "private_content_params": {"what": "body"}});
        let plain = sent(&certificate, &push(&json!({})));
        assert_eq!(plain["private_msg_template_id"], "tpl");
        assert_eq!(plain["private_title_parameters"], r#"{"who":"小红"}"#);
        assert_eq!(plain["private_content_parameters"], r#"{"what":"晚上一起吃饭吗？"}"#);
        let own = json!({"OPPOPrivateMsgTemplateId": "own", "OPPOPrivateTitleParameters": {"a": "b", "n": 5}});
        let shown = sent(&certificate, &push(&json!({"offline_push_info": {"AndroidInfo": own}})));
        assert_eq!(shown["private_msg_template_id"], "own");
        assert_eq!(shown["private_title_parameters"], r#"{"a":"b","n":"5"}"#);
        assert_eq!(shown.get("private_content_parameters"), None, "the certificate's are of another template");
        let news = json!({"offline_push_info": {"AndroidInfo": {"OPPOCategory": "NEWS"}}});
        let shown = sent(&certificate, &push(&news));
        assert_eq!((&shown["category"], shown.get("private_msg_template_id")), (&json!("NEWS"), None));
        assert_eq!(shown.get("private_title_parameters"), None);
    }

    #[test]
    fn the_message_beats_the_certificate_and_there_is_no_class_built_in() {
        let none = sent(&json!({}), &push(&json!({"offline_push_info": {"AndroidInfo": {"OPPONotifyLevel": 16}}})));
        for field in ["category", "notify_level", "channel_id", "private_msg_template_id"] {
            assert_eq!(none.get(field), None, "{field}");
        }
        let own = json!({"OPPOCategory": "TODO", "OPPONotifyLevel": 16, "OPPOChannelID": "d"});
        let shown = sent(
            &json!({"category": "IM", "notify_level": 2, "channel_id": "c"}),
            &push(&json!({"offline_push_info": {"AndroidInfo": own}})),
        );
        assert_eq!(
            (&shown["category"], &shown["notify_level"], &shown["channel_id"]),
            (&json!("TODO"), &json!(16), &json!("d"))
        );
    }

    #[test]
    fn what_a_click_does() {
        for (click, kind, activity, url) in [
            (json!({"action": "launcher"}), 0, None, None),
            (json!({"action": "page", "intent_action": "c.CHAT"}), 1, Some("c.CHAT"), None),
            (json!({"action": "web", "web_uri": "https://e.com"}), 2, None, Some("https://e.com")),
            (json!({"action": "activity", "class_name": "c.Chat"}), 4, Some("c.Chat"), None),
            (json!({"action": "link", "uri": "im://c"}), 5, None, Some("im://c")),
        ] {
            let shown = sent(&json!({"click": click}), &push(&json!({})));
            assert_eq!(shown["click_action_type"], kind);
            assert_eq!(shown.get("click_action_activity").and_then(Value::as_str), activity);
            assert_eq!(shown.get("click_action_url").and_then(Value::as_str), url);
        }
    }

    #[test]
    fn the_time_that_is_left() {
        let time = |seconds, nanos| {
            let shown = sent(&json!({}), &Push { time_to_live: Duration::new(seconds, nanos), ..push(&json!({})) });
            (shown["off_line"].as_bool().unwrap(), shown["off_line_ttl"].as_u64().unwrap())
        };
        assert_eq!(time(0, 0), (false, 1));
        assert_eq!(time(9, 1), (true, 10));
        assert_eq!(time(604_800, 0), (true, 259_200));
    }

    #[test]
    fn a_long_text_has_a_limit_of_its_own() {
        let limit = TextLimit { max: 50, counting: Counting::Chars };
        let of = |content: &Value| body_limit(&push(content).notification, limit).max;
        let big = json!({"offline_push_info": {"AndroidInfo": {"PushStyle": 1}}});
        assert_eq!((of(&json!({})), of(&big)), (50, 128));
        assert_eq!(sent(&json!({}), &push(&big))["style"], 2);
    }

    #[test]
    fn app_data_is_a_text_that_holds_texts_and_left_out_when_it_is_too_long() {
        let content = json!({"data": {"n": 5}, "offline_push_info": {"Ext": "{\"conv\":\"c1\"}"}});
        let shown = sent(&json!({}), &push(&content));
        assert_eq!(shown["action_parameters"], r#"{"ext":"{\"conv\":\"c1\"}","n":"5"}"#);
        assert_eq!(sent(&json!({}), &push(&json!({}))).get("action_parameters"), None);
        let quotes = "\"".repeat(1_020);
        let mut long = push(&json!({"data": {"a": quotes}, "offline_push_info": {"Ext": quotes}}));
        fit_data(&mut long);
        assert_eq!(sent(&json!({}), &long).get("action_parameters"), None);
        assert_eq!(long.cuts[0].field, "data");
    }

    #[test]
    fn classes_have_quotas_of_their_own() {
        let class = |category: &str| {
            let content = json!({"offline_push_info": {"AndroidInfo": {"OPPOCategory": category}}});
            message_class(&Defaults::default(), &push(&content).notification)
        };
        assert_eq!(
            [class(""), class("IM"), class("NEWS"), class("SOCIAL")],
            ["default", "service", "marketing", "marketing"]
        );
    }
}
