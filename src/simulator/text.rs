//! What vendors' rules count and recognise in texts.

use url::Url;

/// How long a text is in UTF-16 units, as Java and JavaScript count.
pub(super) fn utf16_len(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

/// How long a text is in characters, whatever the script.
pub(super) fn char_len(text: &str) -> usize {
    text.chars().count()
}

/// Whether a text has ASCII digits and nothing else.
pub(super) fn are_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether a text can be a digest of so many hexadecimal digits, in lower case.
pub(super) fn is_digest(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether a text is the URL of a web page.
pub(super) fn is_web_url(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_as_long_as_it_is_counted() {
        for (text, units, characters) in [("", 0, 0), ("aé", 2, 2), ("晚上", 2, 2), ("😀", 2, 1)] {
            assert_eq!((utf16_len(text), char_len(text)), (units, characters), "{text}");
        }
    }

    #[test]
    fn digits_digests_and_urls_are_told_from_others() {
        assert!(are_digits("007") && !are_digits("") && !are_digits("-1") && !are_digits("１"));
        assert!(is_digest("00ff", 4) && !is_digest("00FF", 4) && !is_digest("00ff0", 4) && !is_digest("00fg", 4));
        assert!(is_web_url("http://a.b/?c") && is_web_url("HTTPS://a") && !is_web_url("ftp://a") && !is_web_url("a.b"));
    }
}
