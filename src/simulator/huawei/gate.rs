//! The checks every send passes first: whose access token it is, whether that lives, and whether it fits the path.

use super::answer::Refusal;
use super::wire::Huawei;
use crate::simulator::access_tokens::Shown;
use crate::simulator::json::{self, Members};
use crate::simulator::wire::Request;

/// The client id in the path of a send; `None` for other paths.
pub(super) fn client_id(path: &str) -> Option<&str> {
    let id = path.strip_prefix("/v1/")?.strip_suffix("/messages:send")?;
    (!id.is_empty() && !id.contains('/')).then_some(id)
}

/// Whether the access token lives and belongs to the path's client, and that client may push.
pub(super) fn check_client(huawei: &Huawei, request: &Request, client_id: &str) -> Result<(), Refusal> {
    let header = request.header("authorization").ok_or(Refusal::new("80200001", "no authorization"))?;
    let token =
        header.strip_prefix("Bearer ").ok_or(Refusal::new("80200001", "the authorization is not a bearer's"))?;
    match huawei.access_tokens.judge(token, request.at_ms) {
        Shown::Unknown => return Err(Refusal::new("80200001", "the access token is unknown")),
        Shown::Expired => return Err(Refusal::new("80200003", "the access token expired")),
        Shown::Live(owner) if owner != client_id => {
            return Err(Refusal::new("80200001", "the access token is another app's"));
        }
        Shown::Live(_) => {}
    }
    huawei.accounts().check_enabled(client_id)
}

/// The body, which is a JSON object.
pub(super) fn body(request: &Request) -> Result<Members, Refusal> {
    if !request.is_json() {
        return Err(Refusal::new("80100001", "the content type is not JSON in UTF-8"));
    }
    json::parse(&request.body).ok_or(Refusal::new("80100001", "the body is no JSON object"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_names_one_client() {
        assert_eq!(client_id("/v1/100123456/messages:send"), Some("100123456"));
        for other in ["/v1//messages:send", "/v1/1/2/messages:send", "/v2/1/messages:send", "/v1/1/messages:revoke"] {
            assert_eq!(client_id(other), None, "{other}");
        }
    }
}
