//! Why a device gets no push, in a closed list with words for people.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A reason in words: what it means and what would change it, in English and Chinese.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Words {
    pub en: &'static str,
    pub zh: &'static str,
    pub fix_en: &'static str,
    pub fix_zh: &'static str,
}

/// A closed list of reasons: names, and the words of each.
macro_rules! reasons {
    ($(#[$doc:meta])* $list:ident { $($(#[$item_doc:meta])* $item:ident $name:literal $words:expr,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum $list {
            $($(#[$item_doc])* $item,)*
        }

        impl $list {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$item),*];

            /// The name in the API, the trace and the metrics.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$item => $name,)*
                }
            }

            /// What it means and what would change it.
            pub const fn words(self) -> Words {
                match self {
                    $(Self::$item => $words,)*
                }
            }

            /// Reads a stored name.
            pub fn parse(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|reason| reason.as_str() == name)
            }
        }
    };
}

const fn words(en: &'static str, zh: &'static str, fix_en: &'static str, fix_zh: &'static str) -> Words {
    Words { en, zh, fix_en, fix_zh }
}

reasons! {
    /// Why a user or a device gets no push. The names are part of the API: never rename one.
    SkipReason {
        /// The user has no device at all; normal, not an error.
        NoDevice "no_device" words(
            "The user has no device: nobody ever logged in or reported a token under this name.",
            "该用户没有任何设备：从未登录，也从未上报推送令牌。",
            "Check the user id; the app has to log in once and report its token.",
            "检查用户 ID；客户端需要登录一次并上报推送令牌。",
        ),
        /// Logged out, or never logged in.
        LoggedOut "logged_out" words(
            "The device is logged out.",
            "设备已退出登录。",
            "The user logs in again on this device.",
            "用户需在该设备上重新登录。",
        ),
        /// Forced off by another login or an administrator.
        Kicked "kicked" words(
            "The device was forced off by another login or by an administrator.",
            "设备被其他登录或管理员踢下线。",
            "The user logs in again on this device.",
            "用户需在该设备上重新登录。",
        ),
        /// Killed for longer than the app keeps sessions.
        Expired "expired" words(
            "The app was not opened for longer than the app's setting killed_session_s (7 days unless set).",
            "应用被杀后超过 killed_session_s 设定的时间（默认 7 天）未再打开。",
            "The user opens the app once.",
            "用户需打开一次应用。",
        ),
        /// The app is open: the message reaches it over its own connection.
        Foreground "foreground" words(
            "The app is open: the message reaches it over its own connection.",
            "应用在前台：消息通过长连接直接到达。",
            "Nothing to do. If the app is not open, the chat server did not report the disconnect.",
            "无需处理。若应用实际并未打开，说明聊天服务器没有上报断线事件。",
        ),
        /// The app runs in background, which counts as online (a setting of the app).
        Background "background" words(
            "The app runs in background, which counts as online.",
            "应用在后台运行，视为在线。",
            "Add the platform to the app's setting push_in_background to push all the same.",
            "如需推送，请将该平台加入应用设置 push_in_background。",
        ),
        /// No device token was ever reported.
        NoToken "no_token" words(
            "The device never reported a token.",
            "设备从未上报推送令牌。",
            "The client app reports its vendor token with the certificate id after each login.",
            "客户端需在每次登录后上报厂商令牌及证书 ID。",
        ),
        /// The token was reported, but no login followed yet.
        BindingPending "binding_pending" words(
            "The token was reported, but no login followed yet.",
            "已上报令牌，但尚未收到登录事件。",
            "The chat server reports the login within pending_binding_s (10 minutes unless set).",
            "聊天服务器需在 pending_binding_s（默认 10 分钟）内上报登录事件。",
        ),
        /// The user switched notifications off.
        BindingMuted "binding_muted" words(
            "The vendor says that the user switched notifications off.",
            "厂商返回：用户已关闭通知权限。",
            "The user switches notifications on; the app then reports its token again.",
            "用户需打开通知权限，随后客户端重新上报令牌。",
        ),
        /// The binding was taken away.
        BindingDetached "binding_detached" words(
            "The binding was taken away, by a logout, a kick or a call.",
            "绑定已被解除（退出、被踢或接口调用）。",
            "The client app reports its token again.",
            "客户端需重新上报令牌。",
        ),
        /// The token now serves another device.
        BindingSuperseded "binding_superseded" words(
            "The token now serves another device or user.",
            "该令牌现已属于其他设备或用户。",
            "Nothing, if the phone changed hands; else the client app reports its own token again.",
            "若手机已换人使用则无需处理；否则客户端需重新上报自己的令牌。",
        ),
        /// The vendor called the token dead; waits for a new report.
        BindingInvalid "binding_invalid" words(
            "The vendor called the token dead: the app was removed, or the token is of another environment.",
            "厂商返回令牌失效：应用已卸载，或令牌属于其他环境。",
            "The user opens the app once, and it reports its new token.",
            "用户打开一次应用，由客户端上报新令牌。",
        ),
        /// The session expired; revived by the next login.
        BindingStale "binding_stale" words(
            "The session expired; the token is kept for the next login.",
            "会话已过期；令牌保留至下次登录。",
            "The user logs in again on this device.",
            "用户需在该设备上重新登录。",
        ),
        /// The certificate of the binding was deleted.
        CertificateMissing "certificate_missing" words(
            "The certificate the token was reported with does not exist any more.",
            "上报令牌时使用的证书已被删除。",
            "Make the certificate again under the same id, or have the app report with another one.",
            "以相同 ID 重建证书，或让客户端改用其他证书上报。",
        ),
        /// The device that sent the message.
        SenderDevice "sender_device" words(
            "This device sent the message.",
            "该设备就是消息的发送设备。",
            "Nothing to do.",
            "无需处理。",
        ),
        /// The user's own message, which does not ask for his other devices.
        OwnMessage "own_message" words(
            "The user sent the message himself.",
            "消息由该用户自己发送。",
            "Set sync in the notification to push to the sender's other devices.",
            "如需推送给发送者的其他设备，请在通知中设置 sync。",
        ),
        /// Not among `only_devices`, or among `exclude_devices`.
        ExcludedDevice "excluded_device" words(
            "The notification leaves this device out (only_devices or exclude_devices).",
            "通知排除了该设备（only_devices 或 exclude_devices）。",
            "Nothing to do, or change the notification's lists.",
            "无需处理，或修改通知中的设备列表。",
        ),
        /// The message asks never to be pushed (`PushFlag` 1).
        NeverPush "never_push" words(
            "The message asks never to be pushed (PushFlag 1).",
            "消息要求不推送（PushFlag 为 1）。",
            "Leave PushFlag out.",
            "去掉 PushFlag。",
        ),
        /// The user is not to be disturbed now.
        DoNotDisturb "do_not_disturb" words(
            "The user is not to be disturbed now, by his own preference.",
            "用户当前处于免打扰时段。",
            "Wait for the end of the window, or set force in the notification.",
            "等待免打扰时段结束，或在通知中设置 force。",
        ),
        /// The user wants no pushes of this conversation, or only those that mention him.
        ConversationMuted "conversation_muted" words(
            "The user muted this conversation, or wants only what mentions him.",
            "用户已将该会话设为免打扰，或仅接收提到自己的消息。",
            "The user changes the setting of the conversation; or name him in mentions.",
            "用户修改会话设置；或在 mentions 中提到该用户。",
        ),
        /// The user blocked the sender.
        BlockedSender "blocked_sender" words(
            "The user blocked the sender.",
            "用户已屏蔽该发送者。",
            "The user takes the sender off his list.",
            "用户需将发送者移出屏蔽列表。",
        ),
        /// Another session of the user is online (rule `all_offline`).
        OnlineElsewhere "online_elsewhere" words(
            "Another session of the user is online (rule all_offline).",
            "用户有其他会话在线（规则 all_offline）。",
            "Nothing to do, or choose another multi_device rule.",
            "无需处理，或更换 multi_device 规则。",
        ),
        /// A desktop or web session is in use (rule `desktop_quiet`).
        DesktopActive "desktop_active" words(
            "A desktop or web session of the user is open and in use (rule desktop_quiet).",
            "用户的桌面端或网页端正在使用（规则 desktop_quiet）。",
            "Nothing to do, or choose another multi_device rule.",
            "无需处理，或更换 multi_device 规则。",
        ),
        /// Another phone of the user was used later (rule `latest`).
        NotLatestDevice "not_latest_device" words(
            "Another phone of the user was used later (rule latest).",
            "用户最近使用的是另一部手机（规则 latest）。",
            "Nothing to do, or choose another multi_device rule.",
            "无需处理，或更换 multi_device 规则。",
        ),
        /// The user got as many pushes in this minute as the app allows.
        BurstCapped "burst_capped" words(
            "The user got as many pushes in this minute as the app's burst rule allows.",
            "该用户本分钟内的推送数已达应用 burst 规则上限。",
            "Raise burst.max_per_minute.",
            "提高 burst.max_per_minute。",
        ),
    }
}

reasons! {
    /// Why a delivery that waited was ended without a call, besides a [`SkipReason`] that came true meanwhile.
    CancelReason {
        /// The chat server cancelled the notification.
        CancelledByCaller "cancelled_by_caller" words(
            "The chat server cancelled the notification.",
            "聊天服务器取消了该通知。",
            "Nothing to do.",
            "无需处理。",
        ),
        /// A newer notification that replaces it was accepted while it waited.
        SupersededByNewer "superseded_by_newer" words(
            "A newer message of the same conversation (or collapse id) was accepted while it waited.",
            "等待期间同一会话（或 collapse id）的新消息已被接收并取代它。",
            "Nothing to do: the newer one is pushed.",
            "无需处理：推送较新的消息。",
        ),
        /// The user read the conversation while it waited.
        ConversationRead "conversation_read" words(
            "The user read the conversation on another device while it waited.",
            "等待期间用户已在其他设备阅读该会话。",
            "Nothing to do.",
            "无需处理。",
        ),
        /// Its content is gone. Must not happen.
        ContentMissing "content_missing" words(
            "The content of the delivery is gone. This must not happen: please report it.",
            "投递内容缺失。这不应发生：请反馈。",
            "Look into the server's log.",
            "查看服务器日志。",
        ),
    }
}

reasons! {
    /// Why a delivery is made, but not sent at once; also why it was given back to wait in the database (`postponed`).
    WaitReason {
        /// An operator paused the certificate.
        CertificatePaused "certificate_paused" words(
            "An operator paused the certificate: deliveries wait until it is resumed or their time to live ends.",
            "证书已被管理员暂停：消息会等待，直到恢复或超过有效期。",
            "Resume the certificate.",
            "恢复该证书。",
        ),
        /// The vendor refuses the certificate.
        CertificateRefused "certificate_refused" words(
            "The vendor refuses the certificate: deliveries wait until it is mended.",
            "厂商拒绝该证书：消息会等待，直到证书修正。",
            "Correct the credentials; the certificate shows the vendor's answer.",
            "修正证书凭据；证书页面显示厂商返回的原因。",
        ),
        /// The certificate cannot be used by this server.
        CertificateUnusable "certificate_unusable" words(
            "The certificate cannot be used by this server: it was sealed with another master key, or its parts do not fit.",
            "服务器无法使用该证书：主密钥不同或证书内容有误。",
            "Look at the certificate: it shows why.",
            "查看该证书显示的原因。",
        ),
        /// A message class of the certificate is held until its quota is full again.
        QuotaSpent "quota_spent" words(
            "The vendor's daily quota of a message class is spent: deliveries of that class wait for the next day.",
            "厂商某消息类别的当日配额已用完：该类别消息等待次日。",
            "Use the class for private messages, or ask the vendor for a larger quota.",
            "使用私信类别，或向厂商申请更高配额。",
        ),
        /// The vendor does not answer.
        VendorDown "vendor_down" words(
            "The vendor keeps failing: deliveries wait until it answers again.",
            "厂商服务持续失败：消息会等待其恢复。",
            "Nothing to do: a probe goes out every few seconds.",
            "无需处理：系统会定时探测。",
        ),
        /// The vendor's failures opened the circuit breaker while it waited in memory.
        BreakerOpen "breaker_open" words(
            "The vendor kept failing, so the delivery was given back to wait until it answers again.",
            "厂商服务持续失败，消息已放回队列等待其恢复。",
            "Nothing to do: deliveries go out when a probe is answered.",
            "无需处理：探测成功后会继续发送。",
        ),
        /// The certificate it waited for was deleted.
        CertificateDeleted "certificate_deleted" words(
            "The certificate it waited for was deleted: the delivery is looked at again, and goes with the device's new binding or ends.",
            "所等待的证书已被删除：消息会重新判断，按设备的新绑定发送或结束。",
            "Pause a certificate instead of deleting it while deliveries wait.",
            "有待发消息时请暂停证书而不要删除。",
        ),
        /// The device is bound with another certificate now.
        CertificateChanged "certificate_changed" words(
            "The device reported a token of another certificate while the delivery waited: it goes out with that one.",
            "等待期间设备改用其他证书上报令牌：消息将通过新证书发送。",
            "Nothing to do.",
            "无需处理。",
        ),
        /// Its content is of a newer version of the server.
        ContentUnreadable "content_unreadable" words(
            "This server is too old to read the content of the delivery: it waits for one that can.",
            "本服务器版本过旧，无法读取消息内容：等待新版本实例处理。",
            "Bring all servers to the same version.",
            "将所有服务器升级到同一版本。",
        ),
    }
}

reasons! {
    /// Why a delivery was made after the notification had been accepted.
    RescueReason {
        /// The link that it was handed to was dead.
        LinkTimeout "link_timeout" words(
            "The app was open, but its link was dead and the message was never confirmed: it is pushed after all.",
            "应用虽在线，但连接已断开且消息未被确认：改为推送。",
            "Nothing to do: the app's setting rescue_window_s decides how far back this reaches.",
            "无需处理：应用设置 rescue_window_s 决定可追溯的时间。",
        ),
    }
}

reasons! {
    /// Why a delivery ended by itself.
    ExpiryReason {
        /// Its time to live was over.
        TimeToLive "time_to_live" words(
            "The time to live was over before the delivery could be sent.",
            "消息在发送前已超过有效期。",
            "Give the notification a longer ttl_s, and look at what it waited for.",
            "为通知设置更长的 ttl_s，并检查等待的原因。",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for reason in SkipReason::ALL {
            assert_eq!(SkipReason::parse(reason.as_str()), Some(*reason));
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
        }
        for reason in CancelReason::ALL {
            assert_eq!(CancelReason::parse(reason.as_str()), Some(*reason));
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
            assert_eq!(SkipReason::parse(reason.as_str()), None, "a name means one thing");
        }
    }

    #[test]
    fn every_reason_has_words_of_its_own_in_both_languages() {
        let skips = SkipReason::ALL.iter().map(|reason| reason.words());
        let cancels = CancelReason::ALL.iter().map(|reason| reason.words());
        let waits = WaitReason::ALL.iter().map(|reason| reason.words());
        let rescues = RescueReason::ALL.iter().map(|reason| reason.words());
        let expiries = ExpiryReason::ALL.iter().map(|reason| reason.words());
        let all: Vec<Words> = skips.chain(cancels).chain(waits).chain(rescues).chain(expiries).collect();
        for (index, words) in all.iter().enumerate() {
            for text in [words.en, words.zh, words.fix_en, words.fix_zh] {
                assert!(!text.is_empty());
            }
            assert!(!words.zh.is_ascii() && !words.fix_zh.is_ascii(), "Chinese: {words:?}");
            assert!(all[..index].iter().all(|other| other.en != words.en && other.zh != words.zh), "{words:?}");
        }
    }
}
