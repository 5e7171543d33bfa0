//! Tencent's `OfflinePushInfo` alone makes a notification: each of its documented names reaches the vendor's own field.

use rouse::simulator::{ChannelClass, XiaomiChannel, XiaomiTemplate};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::conformance::{Apns, Candidate, Huawei, Meizu, Oppo, Vivo};
use crate::world::{APP, PACKAGE, World, merged};

const ICON: &str = "https://example.com/icon.png";

/// Every name that Tencent documents.
fn everything() -> Value {
    json!({
        "PushFlag": 0, "Title": "Alice", "Desc": "Dinner at seven?", "Ext": "{\"conv\":\"c1\"}",
        "AndroidInfo": {
            "Sound": "ding", "PushStyle": 1,
            "HuaWeiChannelID": "hw-channel", "HuaWeiCategory": "IM", "HuaWeiImportance": "LOW", "HuaWeiImage": ICON,
            "ExtAsHuaweiIntentParam": 1,
            "XiaoMiChannelID": "mi-channel", "XiaoMiTemplateId": "T1", "XiaoMiTemplateParam": {"who": "Alice"},
            "OPPOChannelID": "oppo-channel", "OPPOCategory": "IM", "OPPONotifyLevel": 16,
            "OPPOPrivateMsgTemplateId": "tpl-1", "OPPOPrivateTitleParameters": {"who": "Alice"},
            "OPPOPrivateContentParameters": {"what": "dinner"},
            "VIVOClassification": 1, "VIVOCategory": "TODO", "VIVONotifyType": 3,
            "HonorImportance": "NORMAL", "HonorImage": ICON,
            "GoogleChannelID": "g-channel", "GoogleImage": ICON, "GooglePriority": "high",
            "MeiZuNoticeMsgType": 0
        },
        "ApnsInfo": {"Sound": "ding.caf", "BadgeMode": 1, "Title": "Alice (iOS)", "SubTitle": "Friends", "Image": ICON,
            "MutableContent": 1},
        "HarmonyInfo": {"Image": ICON, "Category": "IM", "IgnoreBadge": 1, "SomethingNew": {"a": [1]}}
    })
}

/// Gives alice a killed device with a certificate of this vendor.
async fn device<C: Candidate>(world: &World, vendor: &C, certificate_id: i64, fields: Value) {
    let body = merged(json!({"vendor": C::KIND, "certificate_id": certificate_id}), vendor.certificate());
    world.post(&format!("/v1/apps/{APP}/certificates"), &merged(body, fields)).await.ok();
    let event = |kind| merged(world.event(kind, "alice", C::KIND), json!({"platform": C::PLATFORM}));
    let login = merged(event("login"), json!({"certificate_id": certificate_id, "token": C::token(1)}));
    assert_eq!(world.events(&json!([login, event("disconnect")])).await, ["applied", "applied"], "{}", C::KIND);
}

/// The JSON that a vendor was sent, from the body or the form field that holds it.
fn sent<C: Candidate>(vendor: &C, field: Option<&str>) -> Value {
    let calls: Vec<_> = vendor.controls().calls().into_iter().filter(|call| C::is_send(&call.path)).collect();
    assert_eq!(calls.len(), 1, "{}", C::KIND);
    let text = field.map_or_else(
        || String::from_utf8(calls[0].body.to_vec()).unwrap(),
        |field| calls[0].field(field).unwrap().to_owned(),
    );
    serde_json::from_str(&text).unwrap()
}

/// Each pointer leads to its value.
#[track_caller]
fn holds(body: &Value, expected: &[(&str, Value)]) {
    for (pointer, value) in expected {
        assert_eq!(body.pointer(pointer), Some(value), "{pointer} of {body:#}");
    }
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn every_documented_name_reaches_its_vendors_field(pool: PgPool) {
    let (apns, huawei, meizu) = (Apns::start().await, Huawei::<false>::start().await, Meizu::start().await);
    let (oppo, vivo) = (Oppo::start().await, Vivo::start().await);
    let settings: Vec<_> =
        [apns.settings(), huawei.settings(), meizu.settings(), oppo.settings(), vivo.settings()].concat();
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, &**value)).collect();
    let world = World::with(pool, &settings).await;
    let click = json!({"defaults": {"click": {"action": "activity", "intent_uri": "intent://c#Intent;scheme=x;end"}}});
    device(&world, &apns, 40_001, json!({})).await;
    device(&world, &huawei, 40_002, click).await;
    device(&world, &meizu, 40_003, json!({})).await;
    device(&world, &oppo, 40_004, json!({})).await;
    device(&world, &vivo, 40_005, json!({})).await;
    world.vendor.add_channel(XiaomiChannel {
        package: PACKAGE.to_owned(),
        id: "mi-channel".to_owned(),
        class: ChannelClass::Private,
        daily_quota: None,
    });
    world.vendor.add_template(XiaomiTemplate {
        package: PACKAGE.to_owned(),
        id: "T1".to_owned(),
        channel_id: "mi-channel".to_owned(),
        variables: vec!["who".to_owned()],
    });
    world.killed_phone("alice", "xiaomi", "token-1").await;

    let body = json!({"message_id": "m1", "to": [{"user_id": "alice", "badge": 5}], "offline_push_info": everything()});
    let accepted = world.post_notification(&body).await.ok();
    assert_eq!(accepted["deliveries"], 6, "{accepted}");
    let outcomes = world.outcomes(accepted["notification_id"].as_str().unwrap()).await;
    assert_eq!(
        outcomes,
        json!({"accepted": 6}),
        "{}",
        world.story(accepted["notification_id"].as_str().unwrap()).await
    );

    let call = world.vendor.calls().pop().unwrap();
    for (field, value) in [
        ("title", "Alice"),
        ("description", "Dinner at seven?"),
        ("payload", "{\"conv\":\"c1\"}"),
        ("extra.channel_id", "mi-channel"),
        ("extra.template_id", "T1"),
        ("extra.template_param", "{\"who\":\"Alice\"}"),
        ("extra.sound_uri", "android.resource://com.example.chat/raw/ding"),
    ] {
        assert_eq!(call.field(field), Some(value), "xiaomi {field}");
    }
    holds(
        &sent(&apns, None),
        &[
            ("/aps/alert/title", json!("Alice (iOS)")),
            ("/aps/alert/subtitle", json!("Friends")),
            ("/aps/alert/body", json!("Dinner at seven?")),
            ("/aps/sound", json!("ding.caf")),
            ("/aps/mutable-content", json!(1)),
            ("/image", json!(ICON)),
            ("/ext", json!("{\"conv\":\"c1\"}")),
        ],
    );
    assert_eq!(sent(&apns, None).pointer("/aps/badge"), None, "BadgeMode 1");
    let message = sent(&huawei, None);
    holds(
        &message,
        &[
            ("/message/android/category", json!("IM")),
            ("/message/android/notification/title", json!("Alice")),
            ("/message/android/notification/body", json!("Dinner at seven?")),
            ("/message/android/notification/channel_id", json!("hw-channel")),
            ("/message/android/notification/importance", json!("LOW")),
            ("/message/android/notification/image", json!(ICON)),
            ("/message/android/notification/sound", json!("/raw/ding")),
            ("/message/android/notification/style", json!(1)),
            ("/message/android/notification/big_body", json!("Dinner at seven?")),
            ("/message/android/data", json!("{\"ext\":\"{\\\"conv\\\":\\\"c1\\\"}\"}")),
        ],
    );
    let intent = message.pointer("/message/android/notification/click_action/intent").unwrap().as_str().unwrap();
    assert!(intent.contains("S.ext=") && intent.contains("conv"), "ExtAsHuaweiIntentParam: {intent}");
    holds(
        &sent(&oppo, Some("message")),
        &[
            ("/notification/title", json!("Alice")),
            ("/notification/content", json!("Dinner at seven?")),
            ("/notification/channel_id", json!("oppo-channel")),
            ("/notification/category", json!("IM")),
            ("/notification/notify_level", json!(16)),
            ("/notification/private_msg_template_id", json!("tpl-1")),
            ("/notification/private_title_parameters", json!("{\"who\":\"Alice\"}")),
            ("/notification/private_content_parameters", json!("{\"what\":\"dinner\"}")),
            ("/notification/style", json!(2)),
        ],
    );
    holds(
        &sent(&vivo, None),
        &[
            ("/title", json!("Alice")),
            ("/content", json!("Dinner at seven?")),
            ("/classification", json!(1)),
            ("/category", json!("TODO")),
            ("/notifyType", json!(3)),
        ],
    );
    let meizus = sent(&meizu, Some("messageJson"));
    holds(&meizus, &[("/noticeBarInfo/title", json!("Alice")), ("/noticeBarInfo/content", json!("Dinner at seven?"))]);
    assert!(meizus.to_string().contains("\"noticeMsgType\":0"), "{meizus}");
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn the_text_may_stand_in_desc_alone(pool: PgPool) {
    let world = World::start(pool).await;
    world.killed_phone("alice", "phone", "token-1").await;
    let with = |fields| merged(json!({"message_id": "m1", "to": [{"user_id": "alice"}]}), fields);
    for bad in [
        json!({}),
        json!({"body": null}),
        json!({"offline_push_info": {"Title": "t"}}),
        json!({"offline_push_info": {"Desc": ""}}),
        json!({"offline_push_info": {"Desc": " \n"}}),
        json!({"body": "", "offline_push_info": {"Desc": "d"}}),
        json!({"body": "  ", "offline_push_info": {"Desc": "d"}}),
    ] {
        assert_eq!(world.post_notification(&with(bad)).await.problem(400, "invalid-body"), "body");
    }
    let accepted = world.post_notification(&with(json!({"offline_push_info": {"Desc": "from Desc"}}))).await.ok();
    assert_eq!(world.outcome(accepted["notification_id"].as_str().unwrap()).await, "accepted");
    assert_eq!(world.vendor.inbox("token-1")[0].body, "from Desc");
    assert_eq!(world.count("message_keys").await, 1, "what was refused is not stored");
}
