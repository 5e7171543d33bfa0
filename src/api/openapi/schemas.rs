//! Schemas that the types do not give as they should be.

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{AdditionalProperties, AllOf, Object, Schema};

use crate::api::certificates::CERTIFICATE_CHANGES;

/// Makes flattened structs one object each, and adds the bodies that change certificates.
pub(super) fn finish(document: &mut utoipa::openapi::OpenApi) {
    let Some(components) = &mut document.components else { return };
    for schema in components.schemas.values_mut() {
        if let RefOr::T(Schema::AllOf(parts)) = schema
            && let Some(object) = joined(parts)
        {
            *schema = RefOr::T(Schema::Object(object));
        }
    }
    for (new, change) in CERTIFICATE_CHANGES {
        if let Some(RefOr::T(Schema::Object(object))) = components.schemas.get(*new) {
            let schema = RefOr::T(Schema::Object(loosened(object.clone())));
            components.schemas.insert((*change).to_owned(), schema);
        }
    }
}

/// One object with the fields of all parts. `allOf` will not do: each part refuses the fields of the others, so that
/// nothing would fit.
fn joined(parts: &AllOf) -> Option<Object> {
    let mut whole = Object::new();
    whole.description.clone_from(&parts.description);
    for part in &parts.items {
        let RefOr::T(Schema::Object(part)) = part else { return None };
        whole.properties.extend(part.properties.clone());
        whole.required.extend(part.required.iter().cloned());
    }
    whole.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
    Some(whole)
}

/// The same object where everything may be left out, without what cannot be changed.
fn loosened(mut object: Object) -> Object {
    object.required.clear();
    object.description = Some("What is left out stays.".to_owned());
    for fixed in ["vendor", "certificate_id"] {
        object.properties.remove(fixed);
    }
    object
}
