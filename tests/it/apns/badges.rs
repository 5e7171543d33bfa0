//! What stands on the icon.

use serde_json::json;
use sqlx::PgPool;

use super::{ALICES_TOKEN, Apns, iphone_of};
use crate::world::{APP, merged, until};

/// The badges that reached a phone, in order.
fn badges(apns: &Apns) -> Vec<Option<i64>> {
    apns.vendor.inbox(ALICES_TOKEN).iter().map(|push| push.badge).collect()
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn the_server_counts_the_badge_from_the_last_unread_and_reading_lowers_it(pool: PgPool) {
    let apns = Apns::start(pool).await;
    apns.settings(json!({"badge": "server"})).await;
    let event = |kind: &str, fields: serde_json::Value| {
        let event = merged(apns.event(kind, "alice", &iphone_of("alice")), json!({"platform": "ios"}));
        json!([merged(event, fields)])
    };
    let push = |fields: serde_json::Value| async {
        let notification = apns.sent("alice", fields).await;
        assert_eq!(apns.outcome(&notification).await, "accepted");
    };
    // Put to background with five unread, then killed.
    apns.events(&event("foreground", json!({}))).await;
    apns.events(&event("background", json!({"unread": 5}))).await;
    apns.events(&event("disconnect", json!({}))).await;
    push(json!({"conversation_id": "a", "to": [{"user_id": "alice", "badge": 99}]})).await;
    push(json!({"conversation_id": "a"})).await;
    push(json!({"conversation_id": "b"})).await;
    let silent = json!({"conversation_id": "b", "offline_push_info": {"ApnsInfo": {"BadgeMode": 1}}});
    for (fields, badge) in [(json!({"conversation_id": "b"}), 9), (silent.clone(), 8)] {
        let body = apns.message("alice", fields);
        let explained = apns.post(&format!("/v1/apps/{APP}/notifications:explain"), &body).await.ok();
        assert_eq!(explained["recipients"][0]["devices"][0]["delivery"]["badge"], badge, "in a dry run");
    }
    push(silent).await;
    assert_eq!(badges(&apns), [Some(6), Some(7), Some(8), None], "the last leaves the number as it is");
    // Read elsewhere: the two of that conversation count no longer.
    assert_eq!(apns.events(&event("read", json!({"conversation_id": "a"}))).await, ["applied"]);
    push(json!({"conversation_id": "c"})).await;
    assert_eq!(badges(&apns).last(), Some(&Some(7)));
    // A new count of unread is a new base.
    apns.events(&event("read", json!({"unread": 2}))).await;
    push(json!({"conversation_id": "c"})).await;
    assert_eq!(badges(&apns).last(), Some(&Some(3)));
    apns.events(&event("foreground", json!({}))).await;
    apns.events(&event("disconnect", json!({}))).await;
    push(json!({"conversation_id": "c"})).await;
    assert_eq!(badges(&apns).last(), Some(&Some(1)), "opened since");
    // A login begins anew, also where the app is killed from the front.
    apns.events(&event("background", json!({"unread": 5}))).await;
    for kind in ["disconnect", "login", "disconnect"] {
        assert_eq!(apns.events(&event(kind, json!({}))).await, ["applied"]);
    }
    push(json!({"conversation_id": "c"})).await;
    assert_eq!(badges(&apns).last(), Some(&Some(1)), "logged in since");
    apns.settings(json!({"badge": "none"})).await;
    push(json!({"conversation_id": "d"})).await;
    assert_eq!(badges(&apns).last(), Some(&None));
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_rescued_message_has_the_badge_of_the_apps_setting(pool: PgPool) {
    let apns = Apns::start(pool).await;
    let event = |kind: &str, fields: serde_json::Value| {
        let event = merged(apns.event(kind, "alice", &iphone_of("alice")), json!({"platform": "ios"}));
        json!([merged(event, fields)])
    };
    let silent = json!({"ApnsInfo": {"BadgeMode": 1}});
    for (source, expected) in [
        ("server", [Some(6), Some(7), None, Some(8)]),
        ("caller", [Some(5), Some(5), None, Some(5)]),
        ("none", [None, None, None, None]),
    ] {
        apns.settings(json!({"badge": source, "rescue_window_s": 600})).await;
        apns.events(&event("foreground", json!({}))).await;
        apns.events(&event("background", json!({"unread": 5}))).await;
        let before = badges(&apns).len();
        let mut keys = Vec::new();
        for (conversation, info) in [("a", json!({})), ("b", json!({})), ("c", silent.clone())] {
            let fields = json!({"conversation_id": conversation, "offline_push_info": info});
            let message = apns.message("alice", fields);
            apns.post_notification(&message).await.ok();
            keys.push(json!({"message_id": message["message_id"]}));
        }
        apns.events(&event("disconnect", json!({"link": "timeout", "unacked": keys}))).await;
        until("the rescued", || async { (badges(&apns).len() == before + 3).then_some(()) }).await;
        // What is pushed next counts on.
        let next = apns.sent("alice", json!({"conversation_id": "d"})).await;
        assert_eq!(apns.outcome(&next).await, "accepted");
        let mut shown = badges(&apns).split_off(before);
        shown[..3].sort_by_key(|badge| badge.unwrap_or(i64::MAX));
        assert_eq!(shown, expected, "{source}");
    }
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn badges_counted_at_once_on_two_connections_are_all_counted(pool: PgPool) {
    let apns = Apns::start(pool).await;
    apns.settings(json!({"badge": "server"})).await;
    let messages = (0..20).map(|number| {
        let message = apns.message("alice", json!({"conversation_id": format!("c{number}")}));
        let apns = &apns;
        async move { apns.post_notification(&message).await.ok() }
    });
    futures_util::future::join_all(messages).await;
    until("20 pushes", || async { (badges(&apns).len() == 20).then_some(()) }).await;
    let mut badges: Vec<i64> = badges(&apns).into_iter().flatten().collect();
    badges.sort_unstable();
    assert_eq!(badges, (1..=20).collect::<Vec<_>>());
}
