//! Many messages at once: one line instead of each, and no more than so many a minute.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::text::Text;

/// What an app does with bursts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BurstRule {
    /// So many messages of a conversation within the window are shown as they are; the later ones as one line.
    #[schema(minimum = 1, maximum = 1_000)]
    pub after: u16,
    /// The window in seconds; windows follow one another on the clock.
    #[schema(minimum = 1, maximum = 3_600)]
    pub window_s: u32,
    /// The line: `{count}` is the number of messages in the window, `{title}` the message's title.
    pub body: Text<1, 128>,
    /// The line of messages without a title, where `body` names `{title}`. If not given: `{count} new messages`, or
    /// `{count} 条新消息` where `body` is Chinese.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub untitled_body: Option<Text<1, 128>>,
    /// The most pushes to one user in a minute, whatever they are about; what is more is skipped. Null: no bound.
    #[schema(minimum = 1, maximum = 10_000)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_per_minute: Option<u16>,
}

impl Default for BurstRule {
    fn default() -> Self {
        Self {
            after: 4,
            window_s: 60,
            body: Text::new("{count} new messages from {title}").unwrap_or_else(|_| unreachable!("the literal fits")),
            untitled_body: None,
            max_per_minute: None,
        }
    }
}

impl BurstRule {
    /// # Errors
    /// The first field out of its range, and a sentence about it.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        if !(1..=1_000).contains(&self.after) {
            return Err(("after", "must be 1 to 1000".to_owned()));
        }
        if !(1..=3_600).contains(&self.window_s) {
            return Err(("window_s", "must be 1 to 3600 seconds".to_owned()));
        }
        if self.max_per_minute.is_some_and(|most| !(1..=10_000).contains(&most)) {
            return Err(("max_per_minute", "must be 1 to 10000".to_owned()));
        }
        Ok(())
    }

    /// The line for so many messages; without a title it is one that names none.
    pub fn line(&self, count: u32, title: Option<&str>) -> String {
        let text = if title.is_some() || !self.body.contains("{title}") { &self.body } else { self.untitled() };
        text.replace("{count}", &count.to_string()).replace("{title}", title.unwrap_or_default())
    }

    fn untitled(&self) -> &str {
        let is_chinese = self.body.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c));
        match &self.untitled_body {
            Some(own) => own,
            None if is_chinese => "{count} 条新消息",
            None => "{count} new messages",
        }
    }
}

/// When the window of so many seconds began that a moment lies in.
pub fn window_start(now: DateTime<Utc>, window_s: u32) -> DateTime<Utc> {
    let seconds = now.timestamp();
    DateTime::from_timestamp(seconds - seconds.rem_euclid(i64::from(window_s.max(1))), 0).unwrap_or(now)
}

/// Which text a delivery shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TextVariant {
    /// The notification's own.
    #[default]
    Own,
    /// None: the user hides contents.
    Hidden,
    /// The line for so many messages.
    Summary(u16),
}

impl TextVariant {
    /// As stored: nothing, 0, or the number of messages.
    pub const fn stored(self) -> Option<i16> {
        match self {
            Self::Own => None,
            Self::Hidden => Some(0),
            Self::Summary(count) => Some(if count > i16::MAX as u16 { i16::MAX } else { count.cast_signed() }),
        }
    }

    /// Reads what is stored.
    pub const fn from_stored(stored: Option<i16>) -> Self {
        match stored {
            None => Self::Own,
            Some(count) if count > 0 => Self::Summary(count.cast_unsigned()),
            Some(_) => Self::Hidden,
        }
    }

    /// The name in the trace.
    pub fn told(self) -> Option<Cow<'static, str>> {
        match self {
            Self::Own => None,
            Self::Hidden => Some("hidden: the user's preference".into()),
            Self::Summary(count) => Some(format!("one line for {count} messages").into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_count_and_title() {
        let rule = BurstRule::default();
        assert_eq!(rule.line(5, Some("Alice")), "5 new messages from Alice");
        let plain = BurstRule { body: Text::new("{count} 条新消息").unwrap(), ..rule };
        assert_eq!((&*plain.line(12, Some("x")), &*plain.line(12, None)), ("12 条新消息", "12 条新消息"));
    }

    #[test]
    fn without_a_title_the_line_names_none() {
        let text = |text| Text::new(text).unwrap();
        let chinese = BurstRule { body: text("{title}发来{count}条新消息"), ..BurstRule::default() };
        let own = BurstRule { untitled_body: Some(text("{count} Nachrichten")), ..BurstRule::default() };
        for (rule, line) in [(BurstRule::default(), "5 new messages"), (chinese, "5 条新消息"), (own, "5 Nachrichten")]
        {
            assert_eq!(rule.line(5, None), line);
        }
    }

    #[test]
    fn windows_follow_one_another() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        assert_eq!(window_start(at(119), 60), at(60));
        assert_eq!(window_start(at(120), 60), at(120));
    }

    #[test]
    fn variants_are_read_back() {
        for variant in [TextVariant::Own, TextVariant::Hidden, TextVariant::Summary(5)] {
            assert_eq!(TextVariant::from_stored(variant.stored()), variant);
        }
    }
}
