//! What users wish for themselves: quiet hours, muted conversations, hidden contents.

use chrono::{DateTime, Datelike, Timelike, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::app::MultiDeviceRule;
use super::text::Name;

/// The most quiet windows of a user.
const MAX_WINDOWS: usize = 20;
/// The most senders a user may block here.
const MAX_BLOCKED: usize = 500;
/// The most bytes that preferences may have as they are stored, in JSON: escapes make names longer.
const MAX_STORED_BYTES: usize = 131_072;
const MINUTES_OF_DAY: u16 = 24 * 60;

/// A user's preferences; every member has a default, so `{}` means none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Preferences {
    /// Where the windows' times are meant: an IANA name such as `Asia/Shanghai`; `UTC` if not given.
    #[schema(value_type = String, example = "Asia/Shanghai", default = "UTC")]
    pub time_zone: TimeZone,
    /// No push within these windows, at most 20.
    #[schema(max_items = 20)]
    pub do_not_disturb: Vec<QuietWindow>,
    /// No push before this moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub do_not_disturb_until: Option<DateTime<Utc>>,
    /// Of conversations without a setting of their own.
    pub notify: Notify,
    /// The app's `hidden_body` is shown in place of the text, its default title in place of the title.
    pub hide_content: bool,
    /// Beats the app's rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multi_device: Option<MultiDeviceRule>,
    /// No push of what these users send, at most 500.
    #[schema(max_items = 500)]
    pub blocked_senders: Vec<Name>,
}

/// Which messages of a conversation are pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Notify {
    #[default]
    All,
    /// Those that mention the user.
    Mentions,
    None,
}

impl Notify {
    /// The name in the API and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Mentions => "mentions",
            Self::None => "none",
        }
    }

    /// Reads a stored name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::All, Self::Mentions, Self::None].into_iter().find(|notify| notify.as_str() == name)
    }
}

/// A time zone by its IANA name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeZone(pub Tz);

impl Default for TimeZone {
    fn default() -> Self {
        Self(Tz::UTC)
    }
}

impl Serialize for TimeZone {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.name())
    }
}

impl<'de> Deserialize<'de> for TimeZone {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let zone = name.parse().map_err(|_| serde::de::Error::custom("must be an IANA name such as Asia/Shanghai"))?;
        Ok(Self(zone))
    }
}

/// Hours without a push, on some days of the week.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct QuietWindow {
    #[schema(value_type = String, example = "22:00")]
    pub start: TimeOfDay,
    /// Not after the start: on the next day. The same as the start: 24 hours.
    #[schema(value_type = String, example = "07:00")]
    pub end: TimeOfDay,
    /// The days on which it starts; every day if not given.
    #[serde(default = "Weekday::all")]
    pub days: Vec<Weekday>,
}

/// A minute of the day, written `HH:MM`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeOfDay(u16);

impl TimeOfDay {
    fn parse(text: &str) -> Option<Self> {
        let (hours, minutes) = text.split_once(':')?;
        let number = |text: &str, below: u16| {
            (text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit()))
                .then(|| text.parse::<u16>().ok())
                .flatten()
                .filter(|number| *number < below)
        };
        Some(Self(number(hours, 24)? * 60 + number(minutes, 60)?))
    }
}

impl Serialize for TimeOfDay {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:02}:{:02}", self.0 / 60, self.0 % 60))
    }
}

impl<'de> Deserialize<'de> for TimeOfDay {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("must be a time of day such as 22:00"))
    }
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Weekday {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

impl Weekday {
    fn all() -> Vec<Self> {
        vec![Self::Mon, Self::Tue, Self::Wed, Self::Thu, Self::Fri, Self::Sat, Self::Sun]
    }

    const fn of(day: chrono::Weekday) -> Self {
        match day {
            chrono::Weekday::Mon => Self::Mon,
            chrono::Weekday::Tue => Self::Tue,
            chrono::Weekday::Wed => Self::Wed,
            chrono::Weekday::Thu => Self::Thu,
            chrono::Weekday::Fri => Self::Fri,
            chrono::Weekday::Sat => Self::Sat,
            chrono::Weekday::Sun => Self::Sun,
        }
    }
}

impl QuietWindow {
    fn contains(&self, day: chrono::Weekday, minute: u16) -> bool {
        let starts_on = |day| self.days.contains(&Weekday::of(day));
        if self.start.0 < self.end.0 {
            return starts_on(day) && (self.start.0..self.end.0).contains(&minute);
        }
        (starts_on(day) && minute >= self.start.0) || (starts_on(day.pred()) && minute < self.end.0)
    }
}

/// Stored preferences that cannot be read. It says where, but not what stands there: that is the user's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("stored preferences are not readable: {category:?} error at line {line} column {column}")]
pub struct Unreadable {
    category: serde_json::error::Category,
    line: usize,
    column: usize,
}

impl Preferences {
    /// Reads what is stored.
    /// # Errors
    /// It was written by a newer version, or by hand.
    pub fn stored(text: &str) -> Result<Self, Unreadable> {
        serde_json::from_str(text).map_err(|error| Unreadable {
            category: error.classify(),
            line: error.line(),
            column: error.column(),
        })
    }

    /// Checks what the types do not.
    /// # Errors
    /// The first field that is wrong, and a sentence about it.
    pub fn check(&self) -> Result<(), (String, String)> {
        if self.do_not_disturb.len() > MAX_WINDOWS {
            return Err(("do_not_disturb".to_owned(), format!("must hold at most {MAX_WINDOWS} windows")));
        }
        if self.blocked_senders.len() > MAX_BLOCKED {
            return Err(("blocked_senders".to_owned(), format!("must hold at most {MAX_BLOCKED} users")));
        }
        // Everything else of them is short.
        if serde_json::to_string(self).map_or(0, |text| text.len()) > MAX_STORED_BYTES {
            let message = format!("must be shorter: preferences have at most {MAX_STORED_BYTES} bytes of JSON");
            return Err(("blocked_senders".to_owned(), message));
        }
        let is_wrong = |window: &QuietWindow| window.days.is_empty() || window.days.len() > Weekday::all().len();
        match self.do_not_disturb.iter().position(is_wrong) {
            Some(index) => {
                Err((format!("do_not_disturb[{index}].days"), "must hold 1 to 7 days; leave it out for all".to_owned()))
            }
            None => Ok(()),
        }
    }

    /// Whether the user is not to be disturbed now.
    pub fn is_quiet(&self, now: DateTime<Utc>) -> bool {
        if self.do_not_disturb_until.is_some_and(|until| now < until) {
            return true;
        }
        if self.do_not_disturb.is_empty() {
            return false;
        }
        let local = now.with_timezone(&self.time_zone.0);
        let minute = u16::try_from(local.hour() * 60 + local.minute()).unwrap_or(MINUTES_OF_DAY - 1);
        self.do_not_disturb.iter().any(|window| window.contains(local.weekday(), minute))
    }

    /// Whether the user wants nothing of this sender.
    pub fn blocks(&self, sender_id: Option<&str>) -> bool {
        sender_id.is_some_and(|sender| self.blocked_senders.iter().any(|blocked| &**blocked == sender))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preferences(json: &str) -> Preferences {
        serde_json::from_str(json).unwrap()
    }

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn a_window_over_midnight_is_meant_in_the_users_time_zone() {
        let nights = preferences(r#"{"time_zone":"Asia/Shanghai","do_not_disturb":[{"start":"22:00","end":"07:00"}]}"#);
        // Shanghai is 8 hours ahead.
        for (now, is_quiet) in [
            ("2026-11-24T13:59:59Z", false),
            ("2026-11-24T14:00:00Z", true),
            ("2026-11-24T22:59:59Z", true),
            ("2026-11-24T23:00:00Z", false),
        ] {
            assert_eq!(nights.is_quiet(at(now)), is_quiet, "{now}");
        }
    }

    #[test]
    fn a_window_repeats_on_the_days_it_starts() {
        // 2026-11-27 is a Friday.
        let weekend = preferences(r#"{"do_not_disturb":[{"start":"23:00","end":"08:00","days":["fri"]}]}"#);
        for (now, is_quiet) in [
            ("2026-11-26T23:30:00Z", false),
            ("2026-11-27T07:30:00Z", false),
            ("2026-11-27T23:30:00Z", true),
            ("2026-11-28T07:30:00Z", true),
            ("2026-11-28T23:30:00Z", false),
        ] {
            assert_eq!(weekend.is_quiet(at(now)), is_quiet, "{now}");
        }
        let whole_day = preferences(r#"{"do_not_disturb":[{"start":"00:00","end":"00:00","days":["sun"]}]}"#);
        assert!(whole_day.is_quiet(at("2026-11-29T00:00:00Z")) && whole_day.is_quiet(at("2026-11-29T23:59:59Z")));
        assert!(!whole_day.is_quiet(at("2026-11-30T00:00:00Z")));
    }

    #[test]
    fn summer_time_moves_with_the_zone() {
        let nights = preferences(r#"{"time_zone":"Europe/Berlin","do_not_disturb":[{"start":"22:00","end":"06:00"}]}"#);
        assert!(nights.is_quiet(at("2026-07-01T20:30:00Z")), "half past ten in summer");
        assert!(!nights.is_quiet(at("2026-12-01T20:30:00Z")), "half past nine in winter");
    }

    #[test]
    fn a_moment_can_be_named_until_which_it_is_quiet() {
        let snooze = preferences(r#"{"do_not_disturb_until":"2026-11-24T12:00:00Z"}"#);
        assert!(snooze.is_quiet(at("2026-11-24T11:59:59Z")));
        assert!(!snooze.is_quiet(at("2026-11-24T12:00:00Z")));
    }

    #[test]
    fn what_cannot_be_read_is_told_by_its_place_alone() {
        let told = Preferences::stored(r#"{"notify":"secret"}"#).unwrap_err().to_string();
        assert_eq!(told, "stored preferences are not readable: Data error at line 1 column 18");
    }

    #[test]
    fn nonsense_is_refused() {
        for wrong in [
            r#"{"time_zone":"Asia/Peking"}"#,
            r#"{"do_not_disturb":[{"start":"24:00","end":"07:00"}]}"#,
            r#"{"do_not_disturb":[{"start":"7:00","end":"08:00"}]}"#,
            r#"{"do_not_disturb":[{"start":"07:00","end":"08:60"}]}"#,
            r#"{"do_not_disturb":[{"start":"07:00","end":"08:00","days":["monday"]}]}"#,
            r#"{"hide_contents":true}"#,
        ] {
            assert!(serde_json::from_str::<Preferences>(wrong).is_err(), "{wrong}");
        }
        let no_days = preferences(r#"{"do_not_disturb":[{"start":"07:00","end":"08:00","days":[]}]}"#);
        assert_eq!(no_days.check().unwrap_err().0, "do_not_disturb[0].days");
        let written = serde_json::to_string(&preferences(r#"{"do_not_disturb":[{"start":"07:05","end":"08:00"}]}"#));
        assert!(written.unwrap().contains(r#""start":"07:05""#));
    }
}
