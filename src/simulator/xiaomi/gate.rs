//! The checks every call of Xiaomi's server API passes first: method, secret, content type, and whom it is for.

use axum::http::Method;
use axum::http::header::AUTHORIZATION;

use super::answer::Refusal;
use crate::simulator::form::Form;
use crate::simulator::wire::Request;

/// The most device tokens one call may name (document, section 1).
const MAX_TARGETS: usize = 1_000;

pub(super) const BAD_SECRET: Refusal = Refusal::new(21_301, "Invalid application secret.");

/// The `AppSecret` of the call: header `Authorization: key=<AppSecret>`, the three letters in lower case.
pub(super) fn secret(request: &Request) -> Result<&str, Refusal> {
    if request.method != Method::POST {
        return Err(Refusal::new(10_021, "the method is not POST"));
    }
    let header = request.header(AUTHORIZATION.as_str()).and_then(|value| value.strip_prefix("key="));
    header.filter(|secret| !secret.is_empty()).ok_or(BAD_SECRET)
}

/// The form of the call.
pub(super) fn form(request: &Request) -> Result<&Form, Refusal> {
    if !request.is_form() {
        return Err(Refusal::new(10_007, "the content type is not a form in UTF-8"));
    }
    request.form().map_err(|_| Refusal::new(10_007, "the body is not a form in UTF-8"))
}

/// The device tokens of a comma-joined field.
pub(super) fn targets<'a>(form: &'a Form, field: &str) -> Result<Vec<&'a str>, Refusal> {
    let list = form.filled(field).ok_or(Refusal::new(10_016, "no registration id"))?;
    let targets: Vec<_> = list.split(',').collect();
    if targets.len() > MAX_TARGETS {
        return Err(Refusal::new(10_017, "more than 1000 registration ids"));
    }
    if targets.contains(&"") {
        return Err(Refusal::new(10_017, "an empty registration id between commas"));
    }
    Ok(targets)
}

/// The package names of the call: version 2 takes one, later ones several, repeated or joined by commas.
pub(super) fn packages<'a>(form: &'a Form, path: &str) -> Vec<&'a str> {
    let fields = form.all("restricted_package_name");
    if path.starts_with("/v2/") { fields.collect() } else { fields.flat_map(|field| field.split(',')).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_2_takes_one_package_name_as_it_stands() {
        let form = Form::parse(b"restricted_package_name=a,b&restricted_package_name=c").unwrap();
        assert_eq!(packages(&form, "/v3/message/regid"), ["a", "b", "c"]);
        assert_eq!(packages(&form, "/v2/message/regid"), ["a,b", "c"]);
    }
}
