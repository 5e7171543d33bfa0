//! `application/x-www-form-urlencoded`, read strictly.
//!
//! The usual decoders replace what is not UTF-8 and let a stray `%` through. A vendor's server refuses both, and so does
//! this one: an adapter's escaping error must not pass as a strange character.

use std::fmt;

/// The decoded fields, in the order they were sent. A name may occur more than once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Form(Vec<(String, String)>);

/// What is wrong with a form body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FormError {
    /// A `%` without two hexadecimal digits behind it.
    Escape,
    /// The decoded bytes are not UTF-8.
    NotUtf8,
}

impl fmt::Display for FormError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Escape => "the form has a broken percent escape",
            Self::NotUtf8 => "the form is not UTF-8",
        })
    }
}

impl Form {
    /// Decodes a body: pairs joined by `&`, `+` for a blank, `%XX` for a byte.
    ///
    /// # Errors
    /// [`FormError`] for a broken escape and for bytes that are not UTF-8.
    pub fn parse(body: &[u8]) -> Result<Self, FormError> {
        let pairs = body.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty());
        pairs
            .map(|pair| {
                let cut = pair.iter().position(|&byte| byte == b'=');
                let (name, value) = cut.map_or((pair, &[][..]), |at| (&pair[..at], &pair[at + 1..]));
                Ok((decode(name)?, decode(value)?))
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The first value of a field, as a servlet's `getParameter` gives it.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// The first value of a field, `None` also when it is empty.
    pub fn filled(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// All values of a field, in order.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |pair| pair.0 == name).map(|pair| pair.1.as_str())
    }

    /// All pairs, in order.
    pub fn pairs(&self) -> &[(String, String)] {
        &self.0
    }
}

fn decode(text: &[u8]) -> Result<String, FormError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(&byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let high = rest.next().and_then(|&digit| hex(digit)).ok_or(FormError::Escape)?;
                let low = rest.next().and_then(|&digit| hex(digit)).ok_or(FormError::Escape)?;
                high << 4 | low
            }
            other => other,
        });
    }
    String::from_utf8(bytes).map_err(|_| FormError::NotUtf8)
}

const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_formed_bodies_are_decoded_in_order() {
        let cases: [(&str, &[(&str, &str)]); 6] = [
            ("", &[]),
            ("a=1&b=2", &[("a", "1"), ("b", "2")]),
            ("a=x+y%20z&a=%2B%2F%3d", &[("a", "x y z"), ("a", "+/=")]),
            ("t=%E5%B0%8F%E7%BA%A2", &[("t", "小红")]),
            ("t=小", &[("t", "小")]),
            ("flag&=x&k==", &[("flag", ""), ("", "x"), ("k", "=")]),
        ];
        for (body, wanted) in cases {
            let form = Form::parse(body.as_bytes()).unwrap();
            let pairs: Vec<_> = form.pairs().iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            assert_eq!(pairs, wanted, "{body}");
        }
    }

    #[test]
    fn broken_escapes_and_foreign_bytes_are_refused() {
        let cases: [(&[u8], FormError); 5] = [
            (b"a=%", FormError::Escape),
            (b"a=%4", FormError::Escape),
            (b"a=100%&b=1", FormError::Escape),
            (b"a=%ff", FormError::NotUtf8),
            (b"a=\xc4\xe3", FormError::NotUtf8),
        ];
        for (body, wanted) in cases {
            assert_eq!(Form::parse(body), Err(wanted), "{}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn the_first_value_wins_and_an_empty_one_is_not_filled() {
        let form = Form::parse(b"a=&a=2&b=3").unwrap();
        assert_eq!(
            (form.get("a"), form.filled("a"), form.filled("b"), form.get("c")),
            (Some(""), None, Some("3"), None)
        );
        assert_eq!(form.all("a").collect::<Vec<_>>(), ["", "2"]);
    }
}
