//! The bodies of certificates, as the API document shows them: each vendor has its own fields.

use serde::Deserialize;
use utoipa::openapi::schema::{AnyOfBuilder, Schema};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use crate::domain::id::CertificateId;
use crate::domain::text::Text;
use crate::vendor::{apns, huawei, meizu, oppo, vivo, xiaomi};

/// What every certificate has, besides the vendor's own fields.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Common {
    /// Chosen by the operator, so that client apps in the field can keep their number; else the server chooses.
    pub certificate_id: Option<CertificateId>,
    /// For operators to tell accounts apart.
    pub name: Option<Text<0, 128>>,
    /// Calls a second, or devices a second where the vendor counts those (Huawei, vivo, OPPO); the lowest tier of the vendor's
    /// document if not given.
    #[schema(minimum = 1, maximum = 100_000)]
    pub rate_limit: Option<i32>,
}

/// The fields of [`Common`]; all others are the vendor's.
pub(super) const COMMON_FIELDS: [&str; 3] = ["certificate_id", "name", "rate_limit"];

/// One body for each vendor: its name, what all certificates have, the account, the defaults.
macro_rules! new_certificates {
    ($($(#[$doc:meta])* $vendor:ident: $variant:ident, $new:ident, $only:ident, $change:ident;)*) => {
        $(
            $(#[$doc])*
            #[derive(ToSchema)]
            #[expect(dead_code, reason = "documents the body, which is read by vendor")]
            pub(in crate::api) struct $new {
                #[schema(inline)]
                vendor: $only,
                #[schema(inline)]
                #[serde(flatten)]
                common: Common,
                #[schema(inline)]
                #[serde(flatten)]
                account: $vendor::Account,
                #[schema(inline, required = false)]
                defaults: $vendor::Defaults,
            }

            /// The vendor of these fields.
            #[derive(ToSchema)]
            #[schema(rename_all = "lowercase")]
            #[expect(dead_code, reason = "documents the body, which is read by vendor")]
            enum $only {
                $variant,
            }
        )*

        /// A new certificate. Each vendor has its own fields; `vendor` tells which.
        #[derive(ToSchema)]
        #[serde(untagged)]
        #[expect(dead_code, reason = "documents the body, which is read by vendor")]
        pub(in crate::api) enum NewCertificate {
            $($variant($new),)*
        }

        /// Schemas the document makes from those of new certificates (`openapi::schemas`).
        pub(in crate::api) const CERTIFICATE_CHANGES: &[(&str, &str)] = &[$((stringify!($new), stringify!($change)),)*];
    };
}

new_certificates! {
    /// A new APNs certificate: a topic with one credential, which is `key_p8`, `key_id` and `team_id`; or `p12` and
    /// `p12_password`; or `certificate_pem` and `key_pem`.
    apns: Apns, NewApnsCertificate, ApnsOnly, ApnsCertificateChange;
    /// A new Xiaomi certificate. `app_secret` is the AppSecret of the console, not the AppKey.
    xiaomi: Xiaomi, NewXiaomiCertificate, XiaomiOnly, XiaomiCertificateChange;
    /// A new Huawei certificate: the OAuth client of the app, for Android, EMUI and HarmonyOS 2 to 4.
    huawei: Huawei, NewHuaweiCertificate, HuaweiOnly, HuaweiCertificateChange;
    /// A new Meizu certificate. `app_secret` is the AppSecret of the console, not the AppKey.
    meizu: Meizu, NewMeizuCertificate, MeizuOnly, MeizuCertificateChange;
    /// A new vivo certificate.
    vivo: Vivo, NewVivoCertificate, VivoOnly, VivoCertificateChange;
    /// A new OPPO certificate, for OPPO, realme and OnePlus phones. `master_secret` is the MasterSecret of the console, not
    /// the AppSecret.
    oppo: Oppo, NewOppoCertificate, OppoOnly, OppoCertificateChange;
}

/// Documents the body of a change.
pub(in crate::api) struct CertificateChange;

impl PartialSchema for CertificateChange {
    fn schema() -> RefOr<Schema> {
        let description = "Fields to change; what is left out stays. `vendor` and `certificate_id` cannot be changed. The \
            fields are those of the certificate's vendor. `defaults` is replaced as a whole; `rate_limit` null removes it.";
        let any = AnyOfBuilder::new().description(Some(description));
        CERTIFICATE_CHANGES.iter().fold(any, |any, (_, name)| any.item(Ref::from_schema_name(*name))).into()
    }
}

impl ToSchema for CertificateChange {}
