//! The rules of a single message, in the order of the document.

use super::*;

#[tokio::test]
async fn what_is_no_form_post_to_a_known_path_has_the_documents_code() {
    let world = World::new().await;
    let good = request(UNICAST, &EXAMPLE.replace(EXAMPLE_TOKEN, &world.token));
    let edits = [
        ("POST", "PUT", r#"{"code":12,"message":"Http Action Not Allowed"}"#),
        ("application/x-www-form-urlencoded", "application/json", r#"{"code":25"#),
        ("charset=UTF-8", "charset=GBK", r#"{"code":25"#),
        ("Li+Wei", "Li%ffei", r#"{"code":25"#),
        ("Li+Wei", "Li%%%%%", r#"{"code":25"#),
        ("message=", "massage=", r#"{"code":40"#),
        ("message=%7B", "message=%5B", r#"{"code":41"#),
    ];
    for (from, to, wanted) in edits {
        let answer = world.raw(&good.replacen(from, to, 1)).await;
        assert_eq!((answer.status, answer.text().starts_with(wanted)), (200, true), "{to}: {}", answer.text());
    }
    assert_eq!(world.raw(&good.replacen("unicast", "unicost", 1)).await.status, 404);
    assert_eq!(world.simulator.endpoint("other").requests, 1);
}

#[tokio::test]
async fn each_rule_of_a_message_has_its_code() {
    let world = World::new().await;
    let cases = [
        ("target_type", Value::Null, 40),
        ("target_type", json!("2"), 41),
        ("target_type", json!(1), 41),
        ("target_type", json!(6), 41),
        ("target_type", json!(5), 0),
        ("target_value", Value::Null, 40),
        ("target_value", json!(""), 40),
        ("target_value", json!([ID]), 41),
        ("target_value", json!(format!("{ID};{ID}")), 10_000),
        ("target_value", json!("b6bbd94b59cdb5df8391642c1509b7f"), 10_000),
        ("target_value", json!("b6bbd94b59cdb5df8391642c1509b7fe"), 0),
        ("target_value", json!("OPPO_IN_b6bbd94b59cdb5df8391642c1509b7fe"), 10_000),
        ("verify_registration_id", json!(true), 0),
        ("verify_registration_id", json!("true"), 41),
        ("notification", Value::Null, 40),
        ("notification", json!("{}"), 41),
    ];
    for (name, value, wanted) in cases {
        let message = changed(message(ID, &[]), &[(name, value.clone())]);
        assert_eq!(code(&world.unicast(&message).await), wanted, "{name} {value}");
    }
    assert_eq!(code(&world.unicast(&json!([])).await), 41);
    assert_eq!(code(&world.unicast(&json!("text")).await), 41);
    let with_receipt = message("ann", &[("call_back_url", json!("https://push.example.com"))]);
    assert_eq!(code(&world.unicast(&changed(with_receipt, &[("target_type", json!(5))])).await), 41);
}

#[tokio::test]
async fn each_rule_of_a_notification_has_its_code() {
    let world = World::new().await;
    let text = |length: usize| json!("红".repeat(length));
    let cases: Vec<(&str, Value, i64)> = vec![
        // Types.
        ("style", json!("1"), 41),
        ("click_action_type", json!("0"), 41),
        ("off_line_ttl", json!("3600"), 41),
        ("off_line_ttl", json!(3_600.5), 41),
        ("notify_id", json!("7"), 41),
        ("notify_level", json!("2"), 41),
        ("off_line", json!("true"), 41),
        ("off_line", json!(1), 41),
        ("title", json!(5), 41),
        ("time_zone", json!(8), 41),
        ("action_parameters", json!({ "k": "v" }), 41),
        ("action_parameters", json!("k=v"), 41),
        ("action_parameters", json!("[]"), 41),
        ("action_parameters", json!(r#"{"k":1}"#), 41),
        ("action_parameters", json!("{}"), 0),
        ("private_title_parameters", json!(r#"{"userName":"Tom"}"#), 0),
        ("private_title_parameters", json!({ "userName": "Tom" }), 0),
        ("private_content_parameters", json!("Tom"), 41),
        ("private_content_parameters", json!(5), 41),
        // Names.
        ("appMessageId", json!("m"), 40),
        ("clickActionType", json!(0), 40),
        ("callBackUrl", json!("https://push.example.com"), 40),
        ("camelCaseOfItsOwn", json!(1), 0),
        // Texts.
        ("title", Value::Null, 40),
        ("title", json!(" "), 40),
        ("content", json!(""), 40),
        ("title", text(50), 0),
        ("title", text(51), 41),
        ("title", json!("😀".repeat(50)), 0),
        ("sub_title", text(10), 0),
        ("sub_title", text(11), 41),
        ("content", text(50), 0),
        ("content", text(51), 41),
        ("style", json!(3), 41),
        ("style", json!(0), 41),
        // Taps.
        ("click_action_type", json!(3), 41),
        ("click_action_type", json!(1), 41),
        ("click_action_type", json!(4), 41),
        ("click_action_type", json!(2), 41),
        ("click_action_type", json!(5), 41),
        ("click_action_activity", text(501), 41),
        ("click_action_url", text(2_001), 41),
        ("action_parameters", json!(format!(r#"{{"k":"{}"}}"#, "v".repeat(3_992))), 0),
        ("action_parameters", json!(format!(r#"{{"k":"{}"}}"#, "v".repeat(3_993))), 41),
        // Ranges.
        ("show_time_type", json!(2), 41),
        ("show_time_type", json!(1), 40),
        ("off_line_ttl", json!(864_000), 0),
        ("off_line_ttl", json!(864_001), 41),
        ("off_line_ttl", json!(-1), 41),
        ("show_ttl", json!(86_400), 0),
        ("show_ttl", json!(86_401), 41),
        ("network_type", json!(2), 41),
        ("notify_id", json!(2_147_483_647), 0),
        ("notify_id", json!(2_147_483_648_i64), 41),
        ("badge_operation_type", json!(2), 41),
        ("push_time_type", json!(1), 41),
        ("call_back_url", json!("push.example.com"), 41),
        ("call_back_url", json!(format!("https://push.example.com/{}", "x".repeat(175))), 0),
        ("call_back_url", json!(format!("https://push.example.com/{}", "x".repeat(176))), 41),
        ("call_back_parameter", text(100), 0),
        ("call_back_parameter", text(101), 41),
        // Classes.
        ("category", json!("im"), 67),
        ("category", json!("CHAT"), 67),
        ("category", json!("MARKETING"), 0),
        ("category", Value::Null, 0),
        ("notify_level", json!(16), 0),
        ("notify_level", json!(3), 67),
    ];
    for (name, value, wanted) in cases {
        assert_eq!(world.send(&[(name, value.clone())]).await, wanted, "{name} {value}");
    }
    let pairs = [
        (("category", Value::Null), ("notify_level", json!(2)), 67),
        (("style", json!(2)), ("content", text(128)), 0),
        (("style", json!(2)), ("content", text(129)), 41),
        (("click_action_type", json!(1)), ("click_action_activity", json!("com.example.chat")), 0),
        (("click_action_type", json!(4)), ("click_action_activity", json!("com.example.Chat")), 0),
        (("click_action_type", json!(2)), ("click_action_url", json!("https://example.com")), 0),
        (("category", json!("NEWS")), ("show_ttl", json!(43_201)), 41),
    ];
    for (one, other, wanted) in pairs {
        assert_eq!(world.send(&[one.clone(), other.clone()]).await, wanted, "{one:?} {other:?}");
    }
    let span =
        |end: i64| [("show_time_type", json!(1)), ("show_start_time", json!(NOW_MS)), ("show_end_time", json!(end))];
    assert_eq!((world.send(&span(NOW_MS + 1)).await, world.send(&span(1_735_689_600)).await), (0, 41));
    let rules = world.simulator.broken_rules();
    assert_eq!((rules["67 notify_level without category"], rules["40 a member has its name in camel case"]), (1, 3));
}

#[tokio::test]
async fn the_content_limit_is_the_worlds() {
    let apps = vec![OppoApp::new(KEY, SECRET)];
    let world = World::start(OppoWorld { content_limit: 200, apps, ..OppoWorld::default() }).await;
    let text = |length: usize| [("content", json!("x".repeat(length)))];
    assert_eq!((world.send(&text(200)).await, world.send(&text(201)).await), (0, 41));
}

#[tokio::test]
async fn the_first_broken_rule_decides() {
    let world = World::with(|app| OppoApp { template_required: true, qps: Some(1), ..app }).await;
    assert_eq!(world.send(&[("private_msg_template_id", json!("t"))]).await, 0, "the bucket is empty now");
    let mut broken: Vec<(&str, Value)> = vec![
        ("notify_id", json!("7")),
        ("offLine", json!(true)),
        ("title", json!("")),
        ("content", json!("x".repeat(51))),
        ("click_action_type", json!(1)),
        ("category", json!("CHAT")),
    ];
    let mut codes = Vec::new();
    for wanted_target in [ID, "x"] {
        codes.push(code(&world.unicast(&message(wanted_target, &broken)).await));
    }
    broken.drain(..2);
    codes.push(code(&world.unicast(&message("x", &broken)).await));
    while !broken.is_empty() {
        codes.push(world.send(&broken).await);
        broken.remove(0);
    }
    codes.extend([world.send(&[]).await, world.send(&[("private_msg_template_id", json!("t"))]).await]);
    assert_eq!(codes, [41, 41, 10_000, 40, 41, 41, 67, 54, 55]);
}

#[tokio::test]
async fn what_passes_but_looks_wrong_is_warned_of() {
    let world = World::new().await;
    let odd = [
        ("category", Value::Null),
        ("off_line_ttl", json!(259_201)),
        ("private_title_parameters", json!({ "userName": "Tom" })),
        ("call_back_parameter", json!("p".repeat(51))),
    ];
    assert_eq!(world.send(&odd).await, 0);
    assert_eq!(world.simulator.calls().pop().unwrap().warnings.len(), 4);
    assert_eq!(world.send(&[("off_line", json!(false)), ("off_line_ttl", json!(60))]).await, 0);
    assert_eq!(world.simulator.inbox(ID)[1].ttl_ms, Some(0), "not stored for later");
}
