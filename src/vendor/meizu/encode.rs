//! The form of `POST /garcia/api/server/push/varnished/pushByPushId`, and its signature.

use std::collections::BTreeMap;

use md5::{Digest, Md5};
use serde::Serialize;
use url::form_urlencoded::Serializer;

use super::account::{Click, Defaults};
use crate::domain::notification::{AndroidSound, Notification};
use crate::vendor::template::as_text;
use crate::vendor::{Push, Target};

/// Chat messages and the like; needs Meizu's approval.
pub(super) const PRIVATE: u8 = 1;
/// The most of the message, in bytes: a guess, no limit is published.
const MAX_MESSAGE_BYTES: usize = 4_096;
/// What is kept for an offline phone, in hours.
const MAX_HOURS: u64 = 72;

#[derive(Serialize)]
struct Message<'a> {
    #[serde(rename = "noticeBarInfo")]
    bar: NoticeBar<'a>,
    #[serde(rename = "noticeExpandInfo")]
    expand: NoticeExpand,
    #[serde(rename = "clickTypeInfo")]
    click: ClickType<'a>,
    #[serde(rename = "pushTimeInfo")]
    time: PushTime,
    #[serde(rename = "advanceInfo")]
    advance: Advance,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NoticeBar<'a> {
    notice_msg_type: u8,
    #[serde(rename = "noticeBarType")]
    looks: u8,
    title: &'a str,
    content: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NoticeExpand {
    notice_expand_type: u8,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ClickType<'a> {
    #[serde(rename = "clickType")]
    kind: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    activity: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<&'a str>,
    /// The app's own data: texts only.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    parameters: BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PushTime {
    off_line: u8,
    /// Hours.
    #[serde(skip_serializing_if = "Option::is_none")]
    valid_time: Option<u64>,
}

/// Flags are always written out: what is left out is on.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Advance {
    suspend: u8,
    clear_notice_bar: u8,
    notification_type: NotificationType,
    notify_key: String,
}

#[derive(Serialize)]
struct NotificationType {
    vibrate: u8,
    lights: u8,
    sound: u8,
}

/// 1 private, 0 public: of the message, else of the certificate.
pub(super) fn notice_type(defaults: &Defaults, notification: &Notification) -> u8 {
    let own = notification.android().and_then(|info| info.meizu_notice_msg_type);
    own.or(defaults.notice_msg_type).unwrap_or(PRIVATE)
}

/// `messageJson`. Pure.
pub(super) fn message(defaults: &Defaults, push: &Push) -> String {
    let notification = &*push.notification;
    let (kind, activity, url) = match defaults.click.as_ref().unwrap_or(&Click::Launcher) {
        Click::Launcher => (0, None, None),
        Click::Activity { class_name } => (1, Some(&**class_name), None),
        Click::Link { uri } => (2, None, Some(&**uri)),
    };
    let is_heard = match notification.android_sound(None) {
        AndroidSound::None => false,
        AndroidSound::Default | AndroidSound::Resource(_) => defaults.sound.unwrap_or(true),
    };
    let hours = push.time_to_live.as_secs_f64() / 3_600.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most a week, and never negative")]
    let hours = hours.ceil() as u64;
    let message = Message {
        bar: NoticeBar {
            notice_msg_type: notice_type(defaults, notification),
            looks: 0,
            title: &push.title,
            content: &push.body,
        },
        expand: NoticeExpand { notice_expand_type: 0 },
        click: ClickType { kind, activity, url, parameters: parameters(push) },
        time: PushTime { off_line: u8::from(hours > 0), valid_time: (hours > 0).then_some(hours.min(MAX_HOURS)) },
        advance: Advance {
            suspend: 1,
            clear_notice_bar: 1,
            notification_type: NotificationType {
                vibrate: u8::from(defaults.vibrate.unwrap_or(true)),
                lights: u8::from(defaults.lights.unwrap_or(true)),
                sound: u8::from(is_heard),
            },
            notify_key: notify_key(notification.collapse_key()),
        },
    };
    // A struct of texts and numbers always serialises.
    serde_json::to_string(&message).unwrap_or_default()
}

fn parameters(push: &Push) -> BTreeMap<String, String> {
    if push.is_data_dropped() {
        return BTreeMap::new();
    }
    push.notification.app_data().iter().map(|(name, value)| (name.clone(), as_text(value))).collect()
}

/// Leaves the app's data out of a message that is too long with it.
pub(super) fn fit_data(defaults: &Defaults, push: &mut Push) {
    let bytes = message(defaults, push).len();
    if bytes > MAX_MESSAGE_BYTES {
        push.drop_data();
    }
}

/// The collapse key in the letters and the length that Meizu takes: base 62, at most 6 of 8 characters.
fn notify_key(collapse_key: i32) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut rest = collapse_key.unsigned_abs() as usize;
    let mut key = String::new();
    while rest > 0 {
        key.insert(0, char::from(DIGITS[rest % DIGITS.len()]));
        rest /= DIGITS.len();
    }
    key
}

/// The request body, signed. Pure.
pub(super) fn form(app_id: &str, secret: &str, message: &str, targets: &[Target]) -> String {
    let tokens: Vec<&str> = targets.iter().map(|target| target.token.as_str()).collect();
    let push_ids = tokens.join(",");
    let sign = sign(&[("appId", app_id), ("messageJson", message), ("pushIds", &push_ids)], secret);
    Serializer::new(String::with_capacity(message.len() * 2 + push_ids.len()))
        .append_pair("appId", app_id)
        .append_pair("pushIds", &push_ids)
        .append_pair("messageJson", message)
        .append_pair("sign", &sign)
        .finish()
}

/// MD5 over `name=value` of all fields in the order of their names, and the secret, without anything between.
fn sign(fields: &[(&str, &str)], secret: &str) -> String {
    let mut fields = fields.to_vec();
    fields.sort_unstable_by_key(|(name, _)| *name);
    let mut digest = Md5::new();
    for (name, value) in fields {
        for part in [name, "=", value] {
            digest.update(part);
        }
    }
    digest.update(secret);
    crate::secrets::hex(&digest.finalize())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;
    use crate::vendor::testing::{push, targets};

    const SECRET: &str = "9f1c2d3e4b5a69788796a5b4c3d2e1f0";
    const A: &str = "TPUSHID0000000000000000000000000000000000000A";
    const B: &str = "TPUSHID0000000000000000000000000000000000000B";
    /// The document's section 10.
    const MESSAGE: &str = r#"{"noticeBarInfo":{"noticeMsgType":1,"noticeBarType":0,"title":"小红","content":"晚上一起吃饭吗？"},"noticeExpandInfo":{"noticeExpandType":0},"clickTypeInfo":{"clickType":0,"parameters":{"cid":"c-1024"}},"pushTimeInfo":{"offLine":1,"validTime":24},"advanceInfo":{"suspend":1,"clearNoticeBar":1,"notificationType":{"vibrate":1,"lights":1,"sound":1},"notifyKey":"c-1024"},"extra":{"callback":"https://push.example.com/r/mz","callback.param":"m-77","callback.type":3}}"#;

    fn defaults(value: Value) -> Defaults {
        serde_json::from_value(value).unwrap()
    }

    fn shown(defaults: &Defaults, push: &Push) -> Value {
        serde_json::from_str(&message(defaults, push)).unwrap()
    }

    #[test]
    fn the_vendors_and_the_documents_signatures() {
        let message = r#"{"title":"title","content":"content","pushTimeInfo":{"offLine":1,"validTime":24}}"#;
        let push_id = "RA50c6348036344485d01776773577c64740465480a6b";
        let of =
            |message: &str| sign(&[("pushIds", push_id), ("appId", "10000"), ("messageJson", message)], "<APP_SECRET>");
        assert_eq!(of(message), "ac076ff25d9900015a681cb5172aa53b", "vector A, the vendor's own");
        let spaced = message.replace(':', ": ");
        assert_eq!(of(&spaced), "250ed115b2977afb5f81578daa33aa7c", "vector A': every byte counts");
        let b = sign(&[("pushId", A), ("appId", "100999")], SECRET);
        assert_eq!(b, "4a5554f44dbf2c43730987a3e6f38b47", "vector B");
        let pushed = format!("{A},{B}");
        let c = sign(&[("appId", "100999"), ("messageJson", MESSAGE), ("pushIds", &pushed)], SECRET);
        assert_eq!(c, "7ef231e259baa1474c20f05460682fa3", "vector C");
    }

    #[test]
    fn the_worked_request_byte_for_byte() {
        let form = form("100999", SECRET, MESSAGE, &targets(&[A, B]));
        assert_eq!(form.len(), 959);
        assert!(form.starts_with(&format!("appId=100999&pushIds={A}%2C{B}&messageJson=%7B%22noticeBarInfo%22%3A")));
        assert!(form.ends_with("%2C%22callback.type%22%3A3%7D%7D&sign=7ef231e259baa1474c20f05460682fa3"));
    }

    #[test]
    fn the_worked_message_byte_for_byte() {
        let push = push(&json!({"data": {"cid": "c-1024"}, "conversation_id": "c-1024"}));
        let key = notify_key(push.notification.collapse_key());
        // The document's, with our notifyKey and without the receipts that are not asked for.
        let (head, _) = MESSAGE.split_once(r#","extra":"#).unwrap();
        let expected = format!("{head}}}").replace(r#""notifyKey":"c-1024""#, &format!(r#""notifyKey":"{key}""#));
        assert_eq!(message(&Defaults::default(), &push), expected);
    }

    #[test]
    fn the_time_that_is_left_is_in_whole_hours() {
        let time = |seconds, nanos| {
            let push = Push { time_to_live: Duration::new(seconds, nanos), ..push(&json!({})) };
            shown(&Defaults::default(), &push)["pushTimeInfo"].clone()
        };
        assert_eq!(time(0, 0), json!({"offLine": 0}));
        assert_eq!(time(0, 1), json!({"offLine": 1, "validTime": 1}));
        assert_eq!(time(3_600, 0)["validTime"], 1);
        assert_eq!(time(3_601, 0)["validTime"], 2);
        assert_eq!(time(604_800, 0)["validTime"], 72);
    }

    #[test]
    fn the_class_and_the_click() {
        let public = json!({"offline_push_info": {"AndroidInfo": {"MeiZuNoticeMsgType": 0}}});
        let class = |defaults: Value, content: &Value| {
            shown(&self::defaults(defaults), &push(content))["noticeBarInfo"]["noticeMsgType"].clone()
        };
        assert_eq!(class(json!({}), &json!({})), 1);
        assert_eq!(class(json!({"notice_msg_type": 0}), &json!({})), 0);
        assert_eq!(class(json!({"notice_msg_type": 1}), &public), 0);
        let click =
            |click: Value| shown(&defaults(json!({"click": click})), &push(&json!({})))["clickTypeInfo"].clone();
        assert_eq!(click(json!({"action": "launcher"})), json!({"clickType": 0}));
        let activity = json!({"action": "activity", "class_name": "c.Chat"});
        assert_eq!(click(activity), json!({"clickType": 1, "activity": "c.Chat"}));
        assert_eq!(click(json!({"action": "link", "uri": "im://c"})), json!({"clickType": 2, "url": "im://c"}));
    }

    #[test]
    fn what_is_felt_and_heard() {
        let of = |defaults: Value, content: &Value| {
            shown(&self::defaults(defaults), &push(content))["advanceInfo"]["notificationType"].clone()
        };
        let all = json!({"vibrate": 1, "lights": 1, "sound": 1});
        assert_eq!(of(json!({}), &json!({})), all);
        assert_eq!(of(json!({}), &json!({"sound": "ding"})), all, "on or off, no sound of its own");
        assert_eq!(of(json!({}), &json!({"sound": "none"}))["sound"], 0);
        let nothing = json!({"vibrate": false, "lights": false, "sound": false});
        assert_eq!(of(nothing, &json!({})), json!({"vibrate": 0, "lights": 0, "sound": 0}));
    }

    #[test]
    fn app_data_is_an_object_of_texts_and_left_out_when_it_is_too_long() {
        let content = json!({"data": {"n": 5, "o": {"a": 1}}, "offline_push_info": {"Ext": "{\"conv\":\"c1\"}"}});
        let parameters = &shown(&Defaults::default(), &push(&content))["clickTypeInfo"]["parameters"];
        assert_eq!(*parameters, json!({"n": "5", "o": "{\"a\":1}", "ext": "{\"conv\":\"c1\"}"}));
        let quotes = "\"".repeat(1_000);
        let mut long = push(&json!({"data": {"a": quotes}, "offline_push_info": {"Ext": quotes}}));
        fit_data(&Defaults::default(), &mut long);
        assert_eq!(shown(&Defaults::default(), &long)["clickTypeInfo"], json!({"clickType": 0}));
        assert_eq!((long.cuts[0].field, long.cuts[0].to), ("data", 0));
    }

    #[test]
    fn collapse_keys_fit_in_eight_characters() {
        for (key, expected) in [(1, "1"), (61, "z"), (62, "10"), (i32::MAX, "2LKcb1")] {
            assert_eq!(notify_key(key), expected);
        }
    }
}
