//! The bodies of `/message/send`, `/message/saveListPayload` and `/message/pushToList`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::account::{Click, Defaults};
use crate::domain::notification::{AndroidSound, Notification};
use crate::domain::offline_push_info::vivo_classification;
use crate::vendor::template::as_text;
use crate::vendor::{Push, Target};

/// Messages of people and the system.
pub(super) const SYSTEM: u8 = 1;
/// What an operator sends: advertisements.
pub(super) const OPERATIONS: u8 = 0;
/// Sound and vibration.
const NOTIFY_TYPE: u8 = 4;
/// What the app's own data may hold.
const MAX_DATA_PAIRS: usize = 10;
const MAX_DATA_CHARS: usize = 1_024;
/// Seconds. A longer time is taken by older versions of the interface only.
const TIMES: std::ops::RangeInclusive<u64> = 60..=86_400;
/// The shortest time to live of a list.
pub(super) const LEAST_LIST_TIME: Duration = Duration::from_mins(15);

/// A message, for one device or to be stored for a list.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Message<'a> {
    app_id: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reg_id: Option<&'a str>,
    notify_type: u8,
    title: &'a str,
    content: &'a str,
    time_to_live: u64,
    skip_type: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    skip_content: Option<&'a str>,
    network_type: i8,
    classification: u8,
    category: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    client_custom_map: BTreeMap<String, String>,
    request_id: String,
    push_mode: u8,
    notify_id: i32,
    foreground_show: bool,
    add_badge: bool,
    /// Only to phones that are online now.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    send_online: bool,
}

/// The devices of a stored message.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct List<'a> {
    reg_ids: Vec<&'a str>,
    task_id: &'a str,
    request_id: String,
}

impl<'a> Message<'a> {
    /// Addressed to this device.
    pub(super) fn to(self, target: &'a Target) -> Self {
        Message { reg_id: Some(&target.token), ..self }
    }
}

impl<'a> List<'a> {
    /// Addressed to these devices.
    pub(super) fn to(self, targets: &'a [Target]) -> Self {
        List { reg_ids: targets.iter().map(|target| target.token.as_str()).collect(), ..self }
    }
}

/// Classification and category, which always agree: what the message says, else the certificate, else a chat message.
pub(super) fn class<'a>(defaults: &'a Defaults, notification: &'a Notification) -> (u8, &'a str) {
    let own = notification.android().and_then(|info| info.vivo_classification);
    let own_category = notification.android_text(|info| info.vivo_category.as_deref());
    let category = own_category.or(defaults.category.as_deref());
    // The message's category says more than the certificate's classification.
    let by_category = |category: Option<&str>| category.and_then(vivo_classification);
    let classification = own
        .or_else(|| by_category(own_category))
        .or(defaults.classification)
        .or_else(|| by_category(category))
        .unwrap_or(SYSTEM);
    let usual = if classification == SYSTEM { "IM" } else { "MARKETING" };
    // A category that nobody knows is trusted to fit only where it stands beside the classification.
    let is_others = own.is_some() && own_category.is_none();
    let fits = |category: &&str| match vivo_classification(category) {
        Some(of) => of == classification,
        None => !is_others,
    };
    (classification, category.filter(fits).unwrap_or(usual))
}

/// The body for one device. Pure.
pub(super) fn single<'a>(app_id: u64, defaults: &'a Defaults, push: &'a Push, target: &'a Target) -> Message<'a> {
    let request_id = request_id("send", push, std::slice::from_ref(target));
    message(app_id, defaults, push, request_id).to(target)
}

/// The body that is stored for a list.
pub(super) fn list_content<'a>(app_id: u64, defaults: &'a Defaults, push: &'a Push) -> Message<'a> {
    // Another one each time: nobody sees a message that is only stored, so a second copy does no harm, and an old one that
    // vivo refuses as a repetition would.
    message(app_id, defaults, push, uuid::Uuid::now_v7().simple().to_string())
}

/// The devices of a list. Pure.
pub(super) fn list<'a>(task_id: &'a str, push: &Push, targets: &'a [Target]) -> List<'a> {
    List { reg_ids: Vec::new(), task_id, request_id: request_id("list", push, targets) }.to(targets)
}

fn message<'a>(app_id: u64, defaults: &'a Defaults, push: &'a Push, request_id: String) -> Message<'a> {
    let notification = &*push.notification;
    let (classification, category) = class(defaults, notification);
    let (skip_type, skip_content) = match defaults.click.as_ref().unwrap_or(&Click::Launcher) {
        Click::Launcher => (1, None),
        Click::Web { web_uri } => (2, Some(&**web_uri)),
        Click::Activity { intent_uri } => (4, Some(&**intent_uri)),
    };
    let own_type = notification.android().and_then(|info| info.vivo_notify_type);
    let usual = defaults.notify_type.unwrap_or(NOTIFY_TYPE);
    let usual = match notification.android_sound(None) {
        AndroidSound::None => without_sound(usual),
        AndroidSound::Default | AndroidSound::Resource(_) => usual,
    };
    Message {
        app_id,
        reg_id: None,
        notify_type: own_type.unwrap_or(usual),
        title: &push.title,
        content: &push.body,
        time_to_live: seconds(push),
        skip_type,
        skip_content,
        network_type: -1,
        classification,
        category,
        client_custom_map: if push.is_data_dropped() { BTreeMap::new() } else { custom_map(notification) },
        request_id,
        push_mode: u8::from(defaults.test_mode),
        notify_id: notification.collapse_key(),
        foreground_show: defaults.notify_foreground || notification.content.force,
        add_badge: defaults.add_badge,
        send_online: push.time_to_live.is_zero(),
    }
}

/// 1 none, 2 sound, 3 vibration, 4 both: the same without sound.
const fn without_sound(notify_type: u8) -> u8 {
    if notify_type > 2 { 3 } else { 1 }
}

/// What is left, rounded up into the range that all versions of the interface take.
fn seconds(push: &Push) -> u64 {
    let left = push.time_to_live;
    (left.as_secs() + u64::from(left.subsec_nanos() > 0)).clamp(*TIMES.start(), *TIMES.end())
}

/// The dedupe key: the same for the same devices, so that an identical retry repeats it and another batch does not.
fn request_id(step: &str, push: &Push, targets: &[Target]) -> String {
    let named = targets.iter().map(|target| format!(" {} {}", target.delivery_id.0, target.token));
    let named = format!("{step} {}{}", push.notification.notification_id.0, named.collect::<String>());
    let mut digest = crate::secrets::hex_digest(named.as_bytes());
    digest.truncate(32);
    digest
}

/// The app's own data: texts only. More pairs than vivo takes go into one, `data`, as JSON.
fn custom_map(notification: &Notification) -> BTreeMap<String, String> {
    let data = notification.app_data();
    if data.len() > MAX_DATA_PAIRS {
        return BTreeMap::from([("data".to_owned(), Value::Object(data).to_string())]);
    }
    data.iter().map(|(name, value)| (name.clone(), as_text(value))).collect()
}

/// Leaves data out that vivo would refuse the message for.
pub(super) fn fit_data(push: &mut Push) {
    let chars = |text: &str| text.encode_utf16().count();
    let size: usize = custom_map(&push.notification).iter().map(|(name, value)| chars(name) + chars(value)).sum();
    if size > MAX_DATA_CHARS {
        push.drop_data();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::vendor::testing::{push, targets};

    const ID: &str = "v2-CR000000000000000000000000000000000000000000000000000001";

    fn defaults(value: Value) -> Defaults {
        serde_json::from_value(value).unwrap()
    }

    fn sent(defaults: &Value, push: &Push) -> Value {
        let defaults = self::defaults(defaults.clone());
        serde_json::to_value(single(100_215_079, &defaults, push, &targets(&[ID])[0])).unwrap()
    }

    #[test]
    fn the_worked_request_byte_for_byte() {
        const DOCUMENTED: &str = r#"{"appId":100215079,"regId":"v2-CR000000000000000000000000000000000000000000000000000001","notifyType":4,"title":"Li Wei","content":"晚上七点开会,带上文件","timeToLive":86400,"skipType":4,"skipContent":"intent://chat/c_8801#Intent;scheme=imapp;package=com.example.im;launchFlags=0x10000000;end","networkType":-1,"classification":1,"category":"IM","clientCustomMap":{"conv":"c_8801","seq":"42"},"extra":{"callback.id":"17","callback.param":"k1:01JD8Q6W"},"requestId":"01JD8Q6W9Z3X5Y7R2T4V6B8N0M","pushMode":0,"notifyId":880142,"foregroundShow":false,"addBadge":true}"#;
        assert_eq!(DOCUMENTED.len(), 574);
        let defaults = defaults(json!({"add_badge": true, "click": {"action": "activity",
            "intent_uri": "intent://chat/c_8801#Intent;scheme=imapp;package=com.example.im;launchFlags=0x10000000;end"}}));
        let push = push(&json!({"title": "Li Wei", "body": "晚上七点开会,带上文件", "conversation_id": "c_8801",
            "data": {"conv": "c_8801", "seq": "42"}}));
        let targets = targets(&[ID]);
        // The document's, with our ids and without the receipts that are not asked for.
        let expected = DOCUMENTED
            .replace(r#""extra":{"callback.id":"17","callback.param":"k1:01JD8Q6W"},"#, "")
            .replace("01JD8Q6W9Z3X5Y7R2T4V6B8N0M", &request_id("send", &push, &targets))
            .replace("880142", &push.notification.collapse_key().to_string());
        assert_eq!(serde_json::to_string(&single(100_215_079, &defaults, &push, &targets[0])).unwrap(), expected);
    }

    #[test]
    fn a_list_is_a_message_without_a_device_and_devices_with_its_task() {
        let (push, targets) = (push(&json!({})), targets(&["a", "b"]));
        let content = serde_json::to_value(list_content(1, &Defaults::default(), &push)).unwrap();
        assert_eq!((content.get("regId"), &content["title"]), (None, &json!("小红")));
        let list = serde_json::to_value(list("77", &push, &targets)).unwrap();
        assert_eq!((&list["regIds"], &list["taskId"]), (&json!(["a", "b"]), &json!("77")));
        assert_eq!(list.as_object().unwrap().len(), 3);
        assert_ne!(list["requestId"], content["requestId"]);
    }

    #[test]
    fn an_identical_retry_repeats_its_request_id_and_another_batch_does_not() {
        let (push, targets) = (push(&json!({})), targets(&["a", "b", "c"]));
        let id = request_id("list", &push, &targets);
        assert_eq!(request_id("list", &push, &targets), id);
        assert_ne!(request_id("list", &push, &targets[..2]), id);
        assert_ne!(request_id("send", &push, &targets), id);
        assert_eq!(id.len(), 32, "vivo takes 64 characters");
    }

    #[test]
    fn classification_and_category_always_agree() {
        for (certificate, message, expected) in [
            (json!({}), json!({}), (1, "IM")),
            (json!({"category": "TODO"}), json!({}), (1, "TODO")),
            (json!({"category": "NEWS"}), json!({}), (0, "NEWS")),
            (json!({"classification": 0}), json!({}), (0, "MARKETING")),
            (json!({"classification": 1, "category": "IM"}), json!({"VIVOCategory": "SOCIAL"}), (0, "SOCIAL")),
            (json!({"category": "IM"}), json!({"VIVOClassification": 0}), (0, "MARKETING")),
            (json!({"category": "NEWS"}), json!({"VIVOClassification": 1}), (1, "IM")),
            (json!({}), json!({"VIVOClassification": 1, "VIVOCategory": "ORDER"}), (1, "ORDER")),
            (json!({"classification": 0}), json!({"VIVOCategory": "BRAND_NEW"}), (0, "BRAND_NEW")),
            (json!({"classification": 0, "category": "BRAND_NEW"}), json!({"VIVOClassification": 1}), (1, "IM")),
            (json!({"classification": 0, "category": "BRAND_NEW"}), json!({}), (0, "BRAND_NEW")),
        ] {
            let push = push(&json!({"offline_push_info": {"AndroidInfo": message}}));
            assert_eq!(class(&defaults(certificate.clone()), &push.notification), expected, "{certificate} {message}");
        }
    }

    #[test]
    fn the_time_that_is_left_keeps_inside_both_versions() {
        let time = |seconds, nanos| {
            let sent = sent(&json!({}), &Push { time_to_live: Duration::new(seconds, nanos), ..push(&json!({})) });
            (sent["timeToLive"].as_u64().unwrap(), sent.get("sendOnline").is_some())
        };
        assert_eq!(time(0, 0), (60, true), "one attempt, and nothing kept");
        assert_eq!(time(1, 0), (60, false));
        assert_eq!(time(3_600, 1), (3_601, false));
        assert_eq!(time(604_800, 0), (86_400, false));
    }

    #[test]
    fn the_rest_of_the_fields() {
        let plain = sent(&json!({}), &push(&json!({})));
        assert_eq!((&plain["skipType"], plain.get("skipContent")), (&json!(1), None));
        assert_eq!(
            (&plain["pushMode"], &plain["addBadge"], &plain["foregroundShow"]),
            (&json!(0), &json!(false), &json!(false))
        );
        let web = json!({"click": {"action": "web", "web_uri": "https://example.com"}, "test_mode": true,
            "notify_foreground": true, "notify_type": 1});
        let shown = sent(&web, &push(&json!({"offline_push_info": {"AndroidInfo": {"VIVONotifyType": 3}}})));
        assert_eq!((&shown["skipType"], &shown["skipContent"]), (&json!(2), &json!("https://example.com")));
        assert_eq!((&shown["pushMode"], &shown["notifyType"]), (&json!(1), &json!(3)));
        assert_eq!(sent(&web, &push(&json!({})))["notifyType"], 1);
        for (certificate, expected) in [(1, 1), (2, 1), (3, 3), (4, 3)] {
            let silent = sent(&json!({"notify_type": certificate}), &push(&json!({"sound": "none"})));
            assert_eq!(silent["notifyType"], expected);
        }
    }

    #[test]
    fn app_data_is_an_object_of_at_most_ten_texts() {
        let map = |content: Value| {
            let mut push = push(&content);
            fit_data(&mut push);
            (sent(&json!({}), &push).get("clientCustomMap").cloned(), push.cuts.len())
        };
        assert_eq!(map(json!({})), (None, 0));
        let ext = json!({"offline_push_info": {"Ext": "{\"conv\":\"c1\"}"}, "data": {"n": 5}});
        assert_eq!(map(ext), (Some(json!({"ext": "{\"conv\":\"c1\"}", "n": "5"})), 0));
        let many: Value =
            (0..11).map(|number| (format!("k{number:02}"), json!(number))).collect::<serde_json::Map<_, _>>().into();
        let (packed, cuts) = map(json!({"data": many.clone()}));
        assert_eq!((packed.unwrap()["data"].as_str().unwrap(), cuts), (many.to_string().as_str(), 0));
        let long = json!({"data": {"a": "x".repeat(900)}, "offline_push_info": {"Ext": "y".repeat(900)}});
        assert_eq!(map(long), (None, 1));
    }
}
