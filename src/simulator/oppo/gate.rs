//! The checks every call passes first: method, form, and whose access token it shows.

use axum::http::Method;

use super::answer::Refusal;
use super::wire::Oppo;
use crate::simulator::access_tokens::Shown;
use crate::simulator::form::Form;
use crate::simulator::wire::Request;

/// The form of the call.
pub(super) fn form(request: &Request) -> Result<&Form, Refusal> {
    if request.method != Method::POST {
        return Err(Refusal::new(12, "the method is not POST"));
    }
    if !request.is_form() {
        return Err(Refusal::new(25, "the content type is not a form in UTF-8"));
    }
    request.form().map_err(|_| Refusal::new(25, "the body is not a form in UTF-8"))
}

/// The app whose access token the call shows, in the form or, as older senders do, in a header.
pub(super) fn app_key(oppo: &Oppo, request: &Request, form: &Form) -> Result<String, Refusal> {
    let header = || request.header("auth_token").filter(|token| !token.is_empty());
    let token = form.filled("auth_token").or_else(header).ok_or(Refusal::new(29, "auth_token is missing"))?;
    match oppo.access_tokens.judge(token, request.at_ms) {
        Shown::Live(owner) => Ok(owner),
        Shown::Expired => Err(Refusal::new(11, "auth_token is expired")),
        Shown::Unknown => Err(Refusal::new(11, "auth_token is unknown")),
    }
}
