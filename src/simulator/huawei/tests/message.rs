//! The rules for what is in a message (document, sections A3 and F), each on the worked example with a member changed.

use super::*;

/// Where members of the example stand.
const A: &str = "/message/android";
const N: &str = "/message/android/notification";

#[tokio::test]
async fn every_member_has_its_type_and_its_range() {
    let simulator = start(world()).await;
    let token = token(&simulator).await;
    let structure: Vec<(String, Option<Value>)> = [
        ("/validate_only", json!("false")),
        ("/message", json!([])),
        ("/message/token", json!("T1")),
        ("/message/token", json!([1])),
        ("/message/topic", json!("news")),
        ("/message/condition", json!("'a' in topics")),
        ("/message/data", json!({"a": 1})),
        ("A/data", json!({"a": 1})),
        ("A/data", json!("no JSON")),
        ("A/ttl", json!(86_400)),
        ("A/ttl", json!("")),
        ("A/ttl", json!("1d")),
        ("A/ttl", json!("1296001s")),
        ("A/bi_tag", json!(7)),
        ("A/receipt_id", json!(7)),
        ("A/category", json!(1)),
        ("A/collapse_key", json!("1")),
        ("A/target_user_type", json!(2)),
        ("A/urgency", json!("LOW")),
        ("A/fast_app_target", json!(3)),
        ("N/title", json!("")),
        ("N/title", json!(1)),
        ("N/body", json!(null)),
        ("N/click_action", json!(null)),
        ("N/click_action", json!({"type": "1", "intent": "i"})),
        ("N/click_action", json!({"intent": "i"})),
        ("N/click_action", json!({"type": 1, "intent": ""})),
        ("N/click_action", json!({"type": 2})),
        ("N/click_action", json!({"type": 2, "url": "http://example.com"})),
        ("N/click_action", json!({"type": 4, "rich_resource": "r"})),
        ("N/importance", json!("MAX")),
        ("N/notify_id", json!("7")),
        ("N/notify_id", json!(-1)),
        ("N/notify_id", json!(2_147_483_648_u64)),
        ("N/notify_id", json!(u64::MAX)),
        ("N/badge", json!(3)),
        ("N/badge", json!({"class": "c", "add_num": 0})),
        ("N/badge", json!({"class": "c", "add_num": 100})),
        ("N/badge", json!({"class": "c", "set_num": -1})),
        ("N/badge", json!({"class": "c", "set_num": 100})),
        ("N/badge", json!({"class": 1})),
        ("N/sound", json!("/raw/ping")),
        ("N/foreground_show", json!(0)),
        ("N/style", json!(1)),
        ("N/style", json!(2)),
        ("N/style", json!(3)),
        ("N/visibility", json!("public")),
        ("N/when", json!("2026-11-24T12:00:00+08:00")),
        ("N/profile_id", json!("p".repeat(65))),
        ("N/image", json!("http://example.com/a.png")),
        ("N/color", json!("#12345")),
        ("N/vibrate_config", json!(["0"])),
        ("N/vibrate_config", json!(["61"])),
        ("N/vibrate_config", json!(vec!["1"; 11])),
        ("N/light_settings", json!({"color": {"alpha": 1}})),
        ("N/buttons", json!(vec![json!({"name": "b", "action_type": 1}); 4])),
        ("N/buttons", json!([{"name": "b".repeat(41), "action_type": 1}])),
        ("N/buttons", json!([{"name": "b", "action_type": 5}])),
        ("N/buttons", json!([{"name": "b", "action_type": 1, "data": "d".repeat(1_025)}])),
        ("N/multi_lang_key", json!({"a": 1, "b": 1, "c": 1, "d": 1})),
    ]
    .map(|(path, value)| (path.replace("A/", &format!("{A}/")).replace("N/", &format!("{N}/")), Some(value)))
    .into();
    for (path, value) in structure {
        let verdict = send(&simulator, &token, &changed(&[(&path, value.clone())])).await;
        assert_eq!(verdict, (400, "80100003".to_owned()), "{path}: {value:?}");
    }
    assert_eq!(simulator.received_total(), 0);
    let refused = simulator.endpoint("/v1/messages:send").refused;
    assert_eq!(refused["80100003 ttl has the wrong JSON type"], 1);
}

#[tokio::test]
async fn counts_sizes_times_keys_and_rights_have_codes_of_their_own() {
    type Changes<'a> = Vec<(&'a str, Value)>;
    let simulator = start(world()).await;
    let token = token(&simulator).await;
    let many = |count: usize| json!((0..count).map(|n| format!("T{n}")).collect::<Vec<_>>());
    let title = format!("{N}/title");
    // The rest of the example, without its tokens and its title, is this long.
    let rest = changed(&[("/message/token", Some(json!([]))), (&title, Some(json!("")))]).len();
    let text = |length: usize| json!("t".repeat(length));
    let [ttl, key, importance, urgency] =
        ["ttl", "collapse_key", "notification/importance", "urgency"].map(|name| format!("{A}/{name}"));
    let cases: Vec<(Changes<'_>, u16, &str)> = vec![
        (vec![("/message/token", json!([]))], 400, "80300010"),
        (vec![("/message/token", json!(null))], 400, "80300010"),
        (vec![("/message/token", many(1_001))], 400, "80300010"),
        (vec![("/message/token", many(1_000))], 200, "80000000"),
        (vec![(&title, text(4_096 - rest)), ("/message/token", many(1_000))], 200, "80000000"),
        (vec![(&title, text(4_097 - rest)), ("/message/token", many(1_000))], 400, "80300008"),
        (vec![(&title, text(4_097 - rest)), ("/message/token", json!(["T1"]))], 400, "80300008"),
        (vec![(&title, json!("红".repeat(1_300)))], 400, "80300008"),
        (vec![(&ttl, json!("0"))], 400, "80100004"),
        (vec![(&ttl, json!("-1s"))], 400, "80100004"),
        (vec![(&ttl, json!("0.5s"))], 400, "80100004"),
        (vec![(&ttl, json!("1"))], 200, "80000000"),
        (vec![(&ttl, json!("1296000.0S"))], 200, "80000000"),
        (vec![(&key, json!(-2))], 400, "80100013"),
        (vec![(&key, json!(101))], 400, "80100013"),
        (vec![(&key, json!(100))], 200, "80000000"),
        (vec![(&importance, json!("HIGH"))], 400, "80300011"),
        (vec![(&urgency, json!("HIGH"))], 400, "80300011"),
        // In the document's order.
        (vec![("/message/token", json!([])), (&title, text(5_000))], 400, "80300010"),
        (vec![(&ttl, json!("0")), (&title, text(5_000))], 400, "80300008"),
        (vec![(&ttl, json!("0")), (&key, json!(101))], 400, "80100004"),
    ];
    for (changes, status, code) in cases {
        let named: Vec<_> = changes.iter().map(|change| change.0).collect();
        let changes: Vec<_> = changes.iter().map(|(path, value)| (*path, Some(value.clone()))).collect();
        let verdict = send(&simulator, &token, &changed(&changes)).await;
        assert_eq!(verdict, (status, code.to_owned()), "{named:?}");
    }
}

#[tokio::test]
async fn what_the_document_lets_pass_is_accepted() {
    let simulator = start(world()).await;
    let token = token(&simulator).await;
    let sdk = r#"{"validate_only":false,"message":{"token":["T1"],"topic":null,"android":{"collapse_key":-1,"urgency":"NORMAL","ttl":"86400s","bi_tag":"b","data":"{\"ext\":\"\\u4f60\"}","notification":{"title":"\u5c0f\ud83d\ude00","body":"b","importance":"NORMAL","click_action":{"type":3},"channel_id":"c","notify_id":1,"badge":{"add_num":1,"class":"C"},"use_default_vibrate":true,"use_default_light":true,"foreground_show":true}}}}"#;
    assert_eq!(send(&simulator, &token, sdk).await, (200, "80000000".into()));
    let received = &simulator.inbox("T1")[0];
    assert_eq!((received.title.as_str(), received.payload.as_deref()), ("小😀", Some("你")));
    assert_eq!((received.channel.as_deref(), received.badge), (Some("c"), None));
    assert_eq!(simulator.calls().last().unwrap().warnings, ["category is missing: sent as marketing"]);

    let notification = |name: &str| format!("{N}/{name}");
    let button = json!({"name": "b", "action_type": 0, "intent_type": 1, "intent": "i", "data": "d"});
    let color = json!({"alpha": 1, "red": 0.5, "green": 0, "blue": 0});
    let lights = json!({"color": color, "light_on_duration": "1s", "light_off_duration": "1s"});
    let rich = changed(&[
        (&notification("style"), Some(json!(3))),
        (&notification("inbox_content"), Some(json!(["a", "b"]))),
        (&notification("sound"), Some(json!("/raw/ping"))),
        (&notification("default_sound"), Some(json!(false))),
        (&notification("when"), Some(json!("2026-11-24T12:00:00.123456789Z"))),
        (&notification("vibrate_config"), Some(json!(["1", "0.5s"]))),
        (&notification("light_settings"), Some(lights)),
        (&notification("buttons"), Some(json!([button]))),
        (&notification("click_action"), Some(json!({"type": 2, "url": "https://example.com/a"}))),
        (&notification("color"), Some(json!("#20aF00"))),
        (&notification("unknown"), Some(json!({"a": 1}))),
        (&notification("ticker"), Some(json!(null))),
        (&notification("group"), Some(json!("g"))),
    ]);
    assert_eq!(send(&simulator, &token, &rich).await, (200, "80000000".into()));
    let received = &simulator.inbox("T2")[0];
    assert_eq!((received.sound.as_deref(), received.thread_id.as_deref()), (Some("/raw/ping"), Some("g")));

    let common = changed(&[
        ("/message/notification", Some(json!({"title": "from above", "body": "b"}))),
        (&notification("title"), None),
        ("/message/data", Some(json!("{\"ext\":\"above\"}"))),
        ("/message/android/data", None),
    ]);
    assert_eq!(send(&simulator, &token, &common).await, (200, "80000000".into()));
    let received = simulator.inbox("T1").pop().unwrap();
    assert_eq!((received.title.as_str(), received.payload.as_deref()), ("from above", Some("above")));

    let data = r#"{"message":{"data":"any text","token":["T3"]}}"#;
    assert_eq!(send(&simulator, &token, data).await, (200, "80000000".into()));
    let received = simulator.inbox("T3").pop().unwrap();
    assert_eq!((received.hidden, received.payload.as_deref()), (Some(Hidden::DataOnly), Some("any text")));
    let nothing = r#"{"message":{"token":["T3"]}}"#;
    assert_eq!(send(&simulator, &token, nothing).await, (400, "80100003".into()));
}

#[tokio::test]
async fn what_passes_but_looks_wrong_is_warned_of() {
    let simulator = start(world()).await;
    let token = token(&simulator).await;
    let cases = [
        (format!("{A}/category"), json!("im"), "category is unknown: sent as marketing"),
        (format!("{N}/badge"), json!({"set_num": 3}), "badge without class: the badge does not work"),
        (format!("{A}/bi_tag"), json!("b".repeat(65)), "bi_tag is over 64 bytes: the limit of version 3"),
        ("/message/token".to_owned(), json!(["T9", "T8", "T9"]), "a token is named twice: delivered twice"),
    ];
    for (path, value, warning) in cases {
        assert_eq!(send(&simulator, &token, &changed(&[(&path, Some(value))])).await, (200, "80000000".into()));
        assert_eq!(simulator.calls().last().unwrap().warnings, [warning]);
    }
    assert_eq!((simulator.inbox("T9").len(), simulator.inbox("T8").len()), (2, 1));
    let topic = changed(&[("/message/token", None), ("/message/topic", Some(json!("news")))]);
    assert_eq!(send(&simulator, &token, &topic).await, (200, "80000000".into()));
    assert_eq!(simulator.endpoint("/v1/messages:send").warnings, 5);
}

#[tokio::test]
async fn a_validation_delivers_nothing() {
    let simulator = start(world()).await;
    let token = token(&simulator).await;
    simulator.kill_token("T1");
    let good = changed(&[("/validate_only", Some(json!(true)))]);
    assert_eq!(send(&simulator, &token, &good).await, (200, "80000000".into()));
    let ttl = changed(&[("/validate_only", Some(json!(true))), ("/message/android/ttl", Some(json!("0s")))]);
    assert_eq!(send(&simulator, &token, &ttl).await, (400, "80100004".into()));
    assert_eq!((simulator.received_total(), simulator.endpoint("/v1/messages:send").accepted), (0, 0));
}
