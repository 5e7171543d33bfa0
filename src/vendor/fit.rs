//! Texts too long for a vendor are cut at a grapheme boundary with an ellipsis, in that vendor's own counting.

use std::borrow::Cow;

use serde::Serialize;
use unicode_segmentation::UnicodeSegmentation;

const ELLIPSIS: &str = "…";

/// How a vendor counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counting {
    /// UTF-16 units: the safe reading of "characters" at a Java server.
    Utf16,
    /// Unicode scalar values.
    Chars,
    /// UTF-16 units, and one more for each character of a CJK block.
    Width,
    /// Bytes of the text inside a JSON document, without its quotes.
    JsonBytes,
}

impl Counting {
    /// How long a text is.
    pub fn of(self, text: &str) -> usize {
        match self {
            Self::Utf16 => text.chars().map(char::len_utf16).sum(),
            Self::Chars => text.chars().count(),
            Self::Width => text.chars().map(|c| c.len_utf16() + usize::from(is_wide(c))).sum(),
            Self::JsonBytes => text.chars().map(json_bytes).sum(),
        }
    }
}

/// A character of a CJK block. vivo's own counter knows fewer blocks (no kana, no Hangul), its document says all of CJK:
/// whatever counts double by either is counted so.
const fn is_wide(c: char) -> bool {
    matches!(c,
        '\u{2000}'..='\u{206f}' | '\u{3000}'..='\u{30ff}' | '\u{3300}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{ac00}'..='\u{d7af}' | '\u{f900}'..='\u{faff}' | '\u{fe30}'..='\u{fe4f}' | '\u{ff00}'..='\u{ffef}'
        | '\u{20000}'..='\u{2a6df}' | '\u{2a700}'..='\u{2b81f}' | '\u{2f800}'..='\u{2fa1f}')
}

/// As `serde_json` writes it: raw UTF-8, with the escapes that JSON demands.
fn json_bytes(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => 6,
        _ => c.len_utf8(),
    }
}

/// The most a text may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextLimit {
    pub max: usize,
    pub counting: Counting,
}

/// What was cut, for the trace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cut {
    /// `title`, `body`, or `data` (in bytes of JSON, left out as a whole).
    pub field: &'static str,
    /// How long it was, in the vendor's counting.
    pub from: usize,
    pub to: usize,
}

/// Cuts `text` to the limit. The ellipsis counts; a single grapheme longer than the limit leaves the ellipsis alone.
pub fn fit<'a>(field: &'static str, text: &'a str, limit: TextLimit) -> (Cow<'a, str>, Option<Cut>) {
    let length = limit.counting.of(text);
    if length <= limit.max {
        return (Cow::Borrowed(text), None);
    }
    let room = limit.max.saturating_sub(limit.counting.of(ELLIPSIS));
    let mut used = 0;
    let mut end = 0;
    for (start, grapheme) in text.grapheme_indices(true) {
        used += limit.counting.of(grapheme);
        if used > room {
            break;
        }
        end = start + grapheme.len();
    }
    let shortened = format!("{}{ELLIPSIS}", text[..end].trim_end());
    let to = limit.counting.of(&shortened);
    (Cow::Owned(shortened), Some(Cut { field, from: length, to }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str, max: usize) -> String {
        fit("title", text, TextLimit { max, counting: Counting::Utf16 }).0.into_owned()
    }

    #[test]
    fn what_fits_is_left_alone() {
        assert_eq!(cut("hello", 5), "hello");
        assert_eq!(cut("", 5), "");
    }

    #[test]
    fn cuts_fall_between_graphemes_and_the_ellipsis_counts() {
        for (text, max, expected) in [
            ("hello!", 5, "hell…"),
            ("小红小红小红", 5, "小红小红…"),
            ("ab😀cd", 5, "ab😀…"),
            ("ab😀cd", 4, "ab…"),
            ("e\u{301}e\u{301}e\u{301}", 5, "e\u{301}e\u{301}…"),
            ("👨‍👩‍👧‍👦👨‍👩‍👧‍👦", 12, "👨‍👩‍👧‍👦…"),
            ("👨‍👩‍👧‍👦", 4, "…"),
            ("one two three", 5, "one…"),
        ] {
            let shortened = cut(text, max);
            assert_eq!(shortened, expected, "{text}");
            assert!(Counting::Utf16.of(&shortened) <= max);
        }
    }

    #[test]
    fn vendors_count_differently() {
        for (text, utf16, chars, width) in [
            ("ab", 2, 2, 2),
            ("红a", 2, 2, 3),
            ("😀", 2, 1, 2),
            ("，…", 2, 2, 4),
            ("é", 1, 1, 1),
            ("𠀀", 2, 1, 3),
            ("かハ한", 3, 3, 6),
        ] {
            let counted = [Counting::Utf16, Counting::Chars, Counting::Width].map(|counting| counting.of(text));
            assert_eq!(counted, [utf16, chars, width], "{text}");
        }
    }

    #[test]
    fn json_is_counted_as_it_is_written() {
        let every: String = ('\0'..='\u{7f}').chain("é好😀\u{2028}".chars()).collect();
        for c in every.chars() {
            let written = serde_json::to_string(&c.to_string()).unwrap().len() - 2;
            assert_eq!(Counting::JsonBytes.of(&c.to_string()), written, "{c:?}");
        }
    }

    #[test]
    fn the_cut_is_told() {
        let (_, told) = fit("body", "hello!", TextLimit { max: 5, counting: Counting::Utf16 });
        assert_eq!(told, Some(Cut { field: "body", from: 6, to: 5 }));
    }
}
