//! The rarer members of a notification: lights, vibration, buttons and the like (document, A3).

use chrono::DateTime;

use super::notification::is_https;
use super::seconds;
use crate::simulator::json::{self, Kind, Member, Members, members};
use crate::simulator::text::char_len;

pub(super) const LIGHTS: &[Member] = members!(
    "color": Kind::Object(members!(
        "alpha": Kind::Number,
        "red": Kind::Number,
        "green": Kind::Number,
        "blue": Kind::Number,
    )),
    "light_on_duration": Kind::Text,
    "light_off_duration": Kind::Text,
);
pub(super) const BUTTON: &[Member] = members!(
    "name": Kind::Text,
    "action_type": Kind::Integer,
    "intent_type": Kind::Integer,
    "intent": Kind::Text,
    "data": Kind::Text,
);

pub(super) fn check(notification: &Members) -> Result<(), &'static str> {
    let text = |name: &str| json::text(notification, name);
    if text("image").is_some_and(|url| !is_https(url)) {
        return Err("image is no https URL");
    }
    if text("color").is_some_and(|color| !is_color(color)) {
        return Err("color is not #RRGGBB");
    }
    if text("visibility").is_some_and(|who| !matches!(who, "VISIBILITY_UNSPECIFIED" | "PRIVATE" | "PUBLIC" | "SECRET"))
    {
        return Err("visibility is unknown");
    }
    let is_utc = |time: &str| DateTime::parse_from_rfc3339(time).is_ok_and(|time| time.offset().local_minus_utc() == 0);
    if text("when").is_some_and(|time| !is_utc(time)) {
        return Err("when is no time in UTC");
    }
    if text("profile_id").is_some_and(|id| char_len(id) > 64) {
        return Err("profile_id is over 64 characters");
    }
    if json::object(notification, "multi_lang_key").is_some_and(|languages| languages.len() > 3) {
        return Err("multi_lang_key has more than 3 languages");
    }
    check_vibration(notification)?;
    json::object(notification, "light_settings").map_or(Ok(()), check_lights)?;
    let buttons = json::list(notification, "buttons");
    if buttons.len() > 3 {
        return Err("more than 3 buttons");
    }
    buttons.iter().filter_map(serde_json::Value::as_object).try_for_each(check_button)
}

fn is_color(text: &str) -> bool {
    text.strip_prefix('#').is_some_and(|hex| hex.len() == 6 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn check_vibration(notification: &Members) -> Result<(), &'static str> {
    let config = json::texts(notification, "vibrate_config");
    let fits = |entry: &&str| seconds::parse(entry).is_some_and(|ms| (1..=60_000).contains(&ms));
    if config.len() > 10 || !config.iter().all(fits) {
        return Err("vibrate_config is over 10 entries or one is not in 0..60 seconds");
    }
    Ok(())
}

fn check_lights(lights: &Members) -> Result<(), &'static str> {
    let part = |color: &Members, name: &str| {
        color.get(name).and_then(serde_json::Value::as_f64).is_some_and(|part| (0.0..=1.0).contains(&part))
    };
    let color = json::object(lights, "color");
    let is_whole = color.is_some_and(|color| ["alpha", "red", "green", "blue"].iter().all(|name| part(color, name)))
        && json::filled(lights, "light_on_duration").is_some()
        && json::filled(lights, "light_off_duration").is_some();
    if is_whole { Ok(()) } else { Err("light_settings is not whole, or a part of its color is not in 0..1") }
}

fn check_button(button: &Members) -> Result<(), &'static str> {
    if json::filled(button, "name").is_none_or(|name| char_len(name) > 40) {
        return Err("a button's name is empty or over 40 characters");
    }
    if json::integer(button, "action_type").is_none_or(|action| !(0..=4).contains(&action)) {
        return Err("a button's action_type is not 0 to 4");
    }
    if json::integer(button, "intent_type").is_some_and(|intent| !matches!(intent, 0 | 1)) {
        return Err("a button's intent_type is not 0 or 1");
    }
    if json::text(button, "data").is_some_and(|data| char_len(data) > 1_024) {
        return Err("a button's data is over 1024 characters");
    }
    Ok(())
}
