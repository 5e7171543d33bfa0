//! Huawei's durations: texts of seconds, `N`, `Ns`, `N.f` and `N.fs`.

use crate::simulator::text::are_digits;

/// The milliseconds of such a text, whatever is behind the third digit of a fraction left out. `None` when it is no such
/// text: Go's `24h0m0s` is none. A minus sign is read, so that a time in the past can be told from a wrong format.
pub(super) fn parse(text: &str) -> Option<i64> {
    let number = text.strip_suffix(['s', 'S']).unwrap_or(text);
    let (sign, number) = number.strip_prefix('-').map_or((1, number), |number| (-1, number));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if !are_digits(whole) || !are_digits(fraction) {
        return None;
    }
    let thousandths = format!("{fraction:0<3}").get(..3)?.parse::<i64>().ok()?;
    let ms = whole.parse::<i64>().unwrap_or(i64::MAX).saturating_mul(1_000).saturating_add(thousandths);
    Some(sign * ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_read_in_four_spellings_and_nothing_else() {
        let cases = [
            ("86400s", Some(86_400_000)),
            ("86400S", Some(86_400_000)),
            ("5", Some(5_000)),
            ("1.5", Some(1_500)),
            ("0.0625s", Some(62)),
            ("-5s", Some(-5_000)),
            ("99999999999999999999", Some(i64::MAX)),
            ("", None),
            ("s", None),
            ("1.s", None),
            (".5s", None),
            ("24h0m0s", None),
            ("5 s", None),
            ("+5s", None),
            ("5ss", None),
        ];
        for (text, wanted) in cases {
            assert_eq!(parse(text), wanted, "{text}");
        }
    }
}
