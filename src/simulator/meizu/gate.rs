//! The checks every push passes first: form, signature, app, targets.

use super::answer::Refusal;
use super::sign;
use super::wire::Meizu;
use crate::simulator::form::Form;
use crate::simulator::wire::Request;

/// The most targets of one call (document, section 1).
const MAX_TARGETS: usize = 100;
const MAX_PACKAGES: usize = 50;

/// The form of the call, with something that looks like a signature.
pub(super) fn form(request: &Request) -> Result<&Form, Refusal> {
    if !request.is_form() {
        return Err(Refusal::new("1005", "the content type is not a form in UTF-8"));
    }
    let form = request.form().map_err(|_| Refusal::new("1005", "the body is not a form in UTF-8"))?;
    if !form.get(sign::FIELD).is_some_and(sign::has_shape) {
        return Err(Refusal::new("1005", "the signature is not 32 lower-case hexadecimal digits"));
    }
    Ok(form)
}

/// The app of the call, which signed it.
pub(super) fn app_id<'a>(meizu: &Meizu, form: &'a Form) -> Result<&'a str, Refusal> {
    let app_id = form.filled("appId").ok_or(Refusal::new("110004", "no appId"))?;
    meizu.accounts().check_app(app_id, form)?;
    Ok(app_id)
}

/// The device tokens of the call.
pub(super) fn targets(form: &Form) -> Result<Vec<&str>, Refusal> {
    let list = form.filled("pushIds").ok_or(Refusal::new("110004", "no pushIds"))?;
    let targets: Vec<_> = list.split(',').collect();
    if targets.len() > MAX_TARGETS {
        return Err(Refusal::new("1005", "more than 100 pushIds"));
    }
    Ok(targets)
}

/// The packages the call is limited to; none: all of the app's.
pub(super) fn packages(form: &Form) -> Result<Vec<&str>, Refusal> {
    let packages: Vec<_> =
        form.filled("restrictedPackageNames").map(|list| list.split(',').collect()).unwrap_or_default();
    if packages.len() > MAX_PACKAGES {
        return Err(Refusal::new("1005", "more than 50 package names"));
    }
    Ok(packages)
}

/// Fields sent twice where one is read, and targets named twice.
pub(super) fn repeated(form: &Form, targets: &[&str]) -> Vec<String> {
    let pairs = form.pairs();
    let is_repeated = |at: usize, name: &str| pairs.iter().take(at).any(|pair| pair.0 == name);
    let fields = pairs.iter().enumerate().filter(|(at, pair)| is_repeated(*at, &pair.0));
    let mut warnings: Vec<_> =
        fields.map(|(_, pair)| format!("{} is repeated: only the first one is read", pair.0)).collect();
    if targets.iter().enumerate().any(|(at, target)| targets.iter().take(at).any(|other| other == target)) {
        warnings.push("a pushId is named twice: delivered twice".into());
    }
    warnings
}
