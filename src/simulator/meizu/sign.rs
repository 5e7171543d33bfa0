//! Meizu's signature: MD5 over all fields, sorted by name, and the app's secret (document, section 2).

use md5::{Digest, Md5};

use crate::simulator::text::is_digest;

/// The field that carries it, and the only one that it does not cover.
pub(super) const FIELD: &str = "sign";

/// Whether a text can be a signature: 32 lower-case hexadecimal digits.
pub(super) fn has_shape(sign: &str) -> bool {
    is_digest(sign, 32)
}

/// The signature of decoded form fields. One that is repeated counts as often as it was sent.
pub(super) fn of(fields: &[(String, String)], secret: &str) -> String {
    let mut fields: Vec<_> = fields.iter().filter(|field| field.0 != FIELD).collect();
    fields.sort_by(|first, second| first.0.cmp(&second.0));
    let mut md5 = Md5::new();
    for (name, value) in fields {
        md5.update(name);
        md5.update("=");
        md5.update(value);
    }
    md5.update(secret);
    format!("{:032x}", u128::from_be_bytes(md5.finalize().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sign(fields: &[(&str, &str)], secret: &str) -> String {
        let fields: Vec<_> = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        of(&fields, secret)
    }

    #[test]
    fn the_documents_vectors_come_out() {
        let compact = r#"{"title":"title","content":"content","pushTimeInfo":{"offLine":1,"validTime":24}}"#;
        let spaced = r#"{"title": "title","content": "content","pushTimeInfo": {"offLine": 1,"validTime": 24}}"#;
        let vector = |message| {
            let id = "RA50c6348036344485d01776773577c64740465480a6b";
            sign(&[("pushIds", id), ("sign", "x"), ("messageJson", message), ("appId", "10000")], "<APP_SECRET>")
        };
        assert_eq!(vector(compact), "ac076ff25d9900015a681cb5172aa53b", "vector A");
        assert_eq!(vector(spaced), "250ed115b2977afb5f81578daa33aa7c", "vector A'");
        let short = [("appId", "100999"), ("pushId", "TPUSHID0000000000000000000000000000000000000A")];
        assert_eq!(sign(&short, "9f1c2d3e4b5a69788796a5b4c3d2e1f0"), "4a5554f44dbf2c43730987a3e6f38b47", "vector B");
    }

    #[test]
    fn an_empty_field_takes_part_and_names_are_sorted_by_their_bytes() {
        let sorted = sign(&[("b", ""), ("a", "1"), ("B", "2")], "s");
        assert_eq!(sorted, sign(&[("B", "2a=1b=")], "s"));
        assert_ne!(sign(&[("a", "1"), ("b", "")], "s"), sign(&[("a", "1")], "s"));
    }

    #[test]
    fn a_signature_has_32_lower_case_digits() {
        assert!(has_shape("7ef231e259baa1474c20f05460682fa3"));
        for other in [
            "",
            "7ef231e259baa1474c20f05460682fa",
            "7EF231E259BAA1474C20F05460682FA3",
            "7ef231e259baa1474c20f05460682fag",
        ] {
            assert!(!has_shape(other), "{other}");
        }
    }
}
