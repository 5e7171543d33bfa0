//! `rouse openapi`.

use super::{Outcome, print};
use crate::api::openapi_document;

/// Prints the document.
pub(super) fn run() -> Outcome {
    print(&format!("{}\n", openapi_document().to_pretty_json()?))?;
    Ok(())
}
