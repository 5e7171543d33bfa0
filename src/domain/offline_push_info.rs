//! Tencent's `OfflinePushInfo`: per-vendor options of one message, under the names a Tencent-style backend already
//! writes. A non-empty value beats the certificate's default.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::text::Text;

/// The whole object. Unknown members are refused, so that a typing error is not a silent loss.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "PascalCase", default)]
pub struct OfflinePushInfo {
    /// 1: this message is never pushed.
    #[serde(skip_serializing_if = "is_zero")]
    #[schema(minimum = 0, maximum = 1)]
    pub push_flag: u8,
    /// Beats the notification's title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<Text<0, 4096>>,
    /// Beats the notification's body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desc: Option<Text<0, 4096>>,
    /// Handed to the app as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ext: Option<Text<0, 1024>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub android_info: Option<AndroidInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apns_info: Option<ApnsInfo>,
    /// Its members are not documented for certain: kept as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub harmony_info: Option<serde_json::Map<String, serde_json::Value>>,
}

/// Options of the Android vendors.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "PascalCase", default)]
#[schema(rename_all = "PascalCase")]
pub struct AndroidInfo {
    /// Raw resource name without suffix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sound: Option<Text<0, 128>>,
    /// 0 normal, 1 big text.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 1)]
    pub push_style: Option<u8>,
    #[serde(rename = "HuaWeiChannelID", skip_serializing_if = "Option::is_none")]
    pub huawei_channel_id: Option<Text<0, 128>>,
    #[serde(rename = "HuaWeiCategory", skip_serializing_if = "Option::is_none")]
    pub huawei_category: Option<Text<0, 64>>,
    /// `LOW` or `NORMAL`.
    #[serde(rename = "HuaWeiImportance", skip_serializing_if = "Option::is_none")]
    pub huawei_importance: Option<Text<0, 16>>,
    #[serde(rename = "HuaWeiImage", skip_serializing_if = "Option::is_none")]
    pub huawei_image: Option<Text<0, 1024>>,
    /// 1: `Ext` is also put into the intent URI that the certificate's click opens.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 1)]
    pub ext_as_huawei_intent_param: Option<u8>,
    #[serde(rename = "XiaoMiChannelID", skip_serializing_if = "Option::is_none")]
    pub xiaomi_channel_id: Option<Text<0, 128>>,
    #[serde(rename = "XiaoMiTemplateId", skip_serializing_if = "Option::is_none")]
    pub xiaomi_template_id: Option<Text<0, 128>>,
    /// Variable name to value; an object, or a text that holds one.
    #[serde(rename = "XiaoMiTemplateParam", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub xiaomi_template_param: Option<serde_json::Value>,
    #[serde(rename = "OPPOChannelID", skip_serializing_if = "Option::is_none")]
    pub oppo_channel_id: Option<Text<0, 128>>,
    #[serde(rename = "OPPOCategory", skip_serializing_if = "Option::is_none")]
    pub oppo_category: Option<Text<0, 64>>,
    /// 1 notification bar, 2 also lock screen, 16 also banner; counts only with a category.
    #[serde(rename = "OPPONotifyLevel", skip_serializing_if = "Option::is_none")]
    pub oppo_notify_level: Option<u8>,
    #[serde(rename = "OPPOPrivateMsgTemplateId", skip_serializing_if = "Option::is_none")]
    pub oppo_private_msg_template_id: Option<Text<0, 128>>,
    #[serde(rename = "OPPOPrivateTitleParameters", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub oppo_private_title_parameters: Option<serde_json::Map<String, serde_json::Value>>,
    #[serde(rename = "OPPOPrivateContentParameters", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub oppo_private_content_parameters: Option<serde_json::Map<String, serde_json::Value>>,
    /// 0 operations, 1 system.
    #[serde(rename = "VIVOClassification", skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 1)]
    pub vivo_classification: Option<u8>,
    #[serde(rename = "VIVOCategory", skip_serializing_if = "Option::is_none")]
    pub vivo_category: Option<Text<0, 64>>,
    /// 1 none, 2 sound, 3 vibration, 4 both.
    #[serde(rename = "VIVONotifyType", skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 4)]
    pub vivo_notify_type: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub honor_importance: Option<Text<0, 16>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub honor_image: Option<Text<0, 1024>>,
    #[serde(rename = "GoogleChannelID", skip_serializing_if = "Option::is_none")]
    pub google_channel_id: Option<Text<0, 128>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub google_image: Option<Text<0, 1024>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub google_priority: Option<Text<0, 16>>,
    /// 0 public, 1 private.
    #[serde(rename = "MeiZuNoticeMsgType", skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 1)]
    pub meizu_notice_msg_type: Option<u8>,
}

/// Options of APNs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "PascalCase", default)]
#[schema(rename_all = "PascalCase")]
pub struct ApnsInfo {
    /// File name with suffix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sound: Option<Text<0, 128>>,
    /// 1: this message does not raise the badge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub badge_mode: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<Text<0, 4096>>,
    #[serde(rename = "SubTitle", skip_serializing_if = "Option::is_none")]
    pub subtitle: Option<Text<0, 4096>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<Text<0, 1024>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mutable_content: Option<u8>,
    /// The action category registered by the app.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<Text<0, 128>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interruption_level: Option<InterruptionLevel>,
    /// 0 to 1: the order in the summary.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 1)]
    pub relevance_score: Option<f64>,
}

/// How much an iOS notification may disturb. The last two need an entitlement of the app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum InterruptionLevel {
    Passive,
    Active,
    TimeSensitive,
    Critical,
}

impl OfflinePushInfo {
    /// Takes out what shows the message's text, or may show it: another one takes its place. A template without its variables
    /// would be refused, or filled by what is not the message's. `all`: the titles too.
    pub fn hide_texts(&mut self, all: bool) {
        self.desc = None;
        if all {
            self.title = None;
        }
        if let Some(android) = &mut self.android_info {
            (android.huawei_image, android.honor_image, android.google_image) = (None, None, None);
            (android.xiaomi_template_id, android.xiaomi_template_param) = (None, None);
            android.oppo_private_msg_template_id = None;
            android.oppo_private_title_parameters = None;
            android.oppo_private_content_parameters = None;
        }
        self.harmony_info = None;
        if let Some(apns) = &mut self.apns_info {
            (apns.subtitle, apns.image) = (None, None);
            if all {
                apns.title = None;
            }
        }
    }

    /// Checks what the types do not: numbers out of their range, texts that are none of their names, a category of the other
    /// classification. Empty texts say nothing and are taken.
    /// # Errors
    /// The path of the first member that is wrong, and a sentence for the caller.
    pub fn check(&self) -> Result<(), (String, String)> {
        let wrong = |path: &str, message: String| Err((path.to_owned(), message));
        if self.push_flag > 1 {
            return wrong("PushFlag", "must be 0 or 1".to_owned());
        }
        if let Some(score) = self.apns_info.as_ref().and_then(|apns| apns.relevance_score)
            && !(0.0..=1.0).contains(&score)
        {
            return wrong("ApnsInfo.RelevanceScore", "must be 0 to 1".to_owned());
        }
        let Some(android) = &self.android_info else { return Ok(()) };
        for (name, value, allowed) in [
            ("PushStyle", android.push_style, &[0, 1][..]),
            ("ExtAsHuaweiIntentParam", android.ext_as_huawei_intent_param, &[0, 1]),
            ("OPPONotifyLevel", android.oppo_notify_level, &[1, 2, 16]),
            ("VIVOClassification", android.vivo_classification, &[0, 1]),
            ("VIVONotifyType", android.vivo_notify_type, &[1, 2, 3, 4]),
            ("MeiZuNoticeMsgType", android.meizu_notice_msg_type, &[0, 1]),
        ] {
            if value.is_some_and(|value| !allowed.contains(&value)) {
                let allowed: Vec<String> = allowed.iter().map(u8::to_string).collect();
                return wrong(&format!("AndroidInfo.{name}"), format!("must be one of: {}", allowed.join(", ")));
            }
        }
        for (name, value) in
            [("HuaWeiImportance", &android.huawei_importance), ("HonorImportance", &android.honor_importance)]
        {
            if value.as_deref().is_some_and(|value| !["", "LOW", "NORMAL"].contains(&value)) {
                return wrong(&format!("AndroidInfo.{name}"), "must be LOW or NORMAL".to_owned());
            }
        }
        for (name, value) in [("HuaWeiImage", &android.huawei_image), ("HonorImage", &android.honor_image)] {
            if value.as_deref().is_some_and(|value| !value.is_empty() && !value.starts_with("https://")) {
                return wrong(&format!("AndroidInfo.{name}"), "must begin with https://".to_owned());
            }
        }
        for (name, value) in [
            ("HuaWeiCategory", &android.huawei_category),
            ("OPPOCategory", &android.oppo_category),
            ("VIVOCategory", &android.vivo_category),
        ] {
            let is_upper = |value: &str| value.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
            if value.as_deref().is_some_and(|value| !is_upper(value)) {
                return wrong(&format!("AndroidInfo.{name}"), "must be in capital letters, as IM".to_owned());
            }
        }
        let of_category = android.vivo_category.as_deref().and_then(vivo_classification);
        if of_category.zip(android.vivo_classification).is_some_and(|(one, other)| one != other) {
            let message = "is of the other VIVOClassification: vivo refuses the pair".to_owned();
            return wrong("AndroidInfo.VIVOCategory", message);
        }
        Ok(())
    }
}

/// The classification that a category of vivo's belongs to: 1 system, 0 operations; `None`: not known.
pub fn vivo_classification(category: &str) -> Option<u8> {
    match category {
        "IM" | "ACCOUNT" | "TODO" | "DEVICE_REMINDER" | "ORDER" | "SUBSCRIPTION" => Some(1),
        "NEWS" | "CONTENT" | "MARKETING" | "SOCIAL" => Some(0),
        _ => None,
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn is_zero(flag: &u8) -> bool {
    *flag == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tencents_spelling_is_read_and_a_misspelt_member_is_refused() {
        let info: OfflinePushInfo = serde_json::from_str(
            r#"{"PushFlag":0,"Title":"t","Desc":"d","Ext":"{}","AndroidInfo":{"XiaoMiChannelID":"high",
                "OPPOChannelID":"o","VIVOClassification":1,"HuaWeiCategory":"IM","ExtAsHuaweiIntentParam":0},
                "ApnsInfo":{"BadgeMode":1,"SubTitle":"s"},"HarmonyInfo":{"Anything":1}}"#,
        )
        .unwrap();
        assert_eq!(info.android_info.unwrap().xiaomi_channel_id.unwrap().into_string(), "high");
        assert!(serde_json::from_str::<OfflinePushInfo>(r#"{"AndroidInfo":{"XiaomiChannelID":"x"}}"#).is_err());
    }

    #[test]
    fn what_no_vendor_takes_is_refused_with_its_path() {
        for (info, path) in [
            (r#"{"PushFlag":2}"#, "PushFlag"),
            (r#"{"ApnsInfo":{"RelevanceScore":1.5}}"#, "ApnsInfo.RelevanceScore"),
            (r#"{"AndroidInfo":{"PushStyle":2}}"#, "AndroidInfo.PushStyle"),
            (r#"{"AndroidInfo":{"ExtAsHuaweiIntentParam":2}}"#, "AndroidInfo.ExtAsHuaweiIntentParam"),
            (r#"{"AndroidInfo":{"OPPONotifyLevel":3}}"#, "AndroidInfo.OPPONotifyLevel"),
            (r#"{"AndroidInfo":{"VIVOClassification":2}}"#, "AndroidInfo.VIVOClassification"),
            (r#"{"AndroidInfo":{"VIVONotifyType":0}}"#, "AndroidInfo.VIVONotifyType"),
            (r#"{"AndroidInfo":{"MeiZuNoticeMsgType":2}}"#, "AndroidInfo.MeiZuNoticeMsgType"),
            (r#"{"AndroidInfo":{"HuaWeiImportance":"HIGH"}}"#, "AndroidInfo.HuaWeiImportance"),
            (r#"{"AndroidInfo":{"HonorImportance":"low"}}"#, "AndroidInfo.HonorImportance"),
            (r#"{"AndroidInfo":{"VIVOClassification":0,"VIVOCategory":"IM"}}"#, "AndroidInfo.VIVOCategory"),
            (r#"{"AndroidInfo":{"VIVOCategory":"im"}}"#, "AndroidInfo.VIVOCategory"),
            (r#"{"AndroidInfo":{"OPPOCategory":"Im"}}"#, "AndroidInfo.OPPOCategory"),
            (r#"{"AndroidInfo":{"HuaWeiImage":"http://example.com/i.png"}}"#, "AndroidInfo.HuaWeiImage"),
        ] {
            let info: OfflinePushInfo = serde_json::from_str(info).unwrap();
            assert_eq!(info.check().unwrap_err().0, path);
        }
        let good = r#"{"PushFlag":1,"AndroidInfo":{"PushStyle":1,"OPPONotifyLevel":16,"VIVOClassification":0,
            "VIVOCategory":"BRAND_NEW","VIVONotifyType":4,"HuaWeiImportance":"","MeiZuNoticeMsgType":0}}"#;
        assert_eq!(serde_json::from_str::<OfflinePushInfo>(good).unwrap().check(), Ok(()));
    }
}
