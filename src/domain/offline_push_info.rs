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
    pub push_style: Option<u8>,
    #[serde(rename = "HuaWeiChannelID", skip_serializing_if = "Option::is_none")]
    pub huawei_channel_id: Option<Text<0, 128>>,
    #[serde(rename = "HuaWeiCategory", skip_serializing_if = "Option::is_none")]
    pub huawei_category: Option<Text<0, 64>>,
    #[serde(rename = "HuaWeiImportance", skip_serializing_if = "Option::is_none")]
    pub huawei_importance: Option<Text<0, 16>>,
    #[serde(rename = "HuaWeiImage", skip_serializing_if = "Option::is_none")]
    pub huawei_image: Option<Text<0, 1024>>,
    #[serde(skip_serializing_if = "Option::is_none")]
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
    #[serde(rename = "VIVOClassification", skip_serializing_if = "Option::is_none")]
    pub vivo_classification: Option<u8>,
    #[serde(rename = "VIVOCategory", skip_serializing_if = "Option::is_none")]
    pub vivo_category: Option<Text<0, 64>>,
    #[serde(rename = "VIVONotifyType", skip_serializing_if = "Option::is_none")]
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
    #[serde(rename = "MeiZuNoticeMsgType", skip_serializing_if = "Option::is_none")]
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
}
