//! Who gets the push: a pure function of a user's devices and preferences, the app's settings and the message's own wishes.

use chrono::{DateTime, TimeDelta, Utc};

use super::app::{AppSettings, MultiDeviceRule};
use super::preferences::{Notify, Preferences};
use super::session::{BindingStatus, Session, SessionState};
pub use super::skip::SkipReason;

/// What routing needs to know of a device.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    pub device_id: &'a str,
    /// As stored: what time did to it is seen here.
    pub session: Session,
    pub binding: Option<BindingStatus>,
}

/// What routing needs to know of a user.
#[derive(Debug, Clone, Copy)]
pub struct User<'a> {
    pub user_id: &'a str,
    pub preferences: Option<&'a Preferences>,
    /// What is pushed of this message's conversation.
    pub notify: Notify,
    pub is_mentioned: bool,
}

impl User<'_> {
    fn rule(&self, settings: &AppSettings) -> MultiDeviceRule {
        self.preferences.and_then(|preferences| preferences.multi_device).unwrap_or(settings.multi_device)
    }
}

/// What the message itself says about users and devices.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wishes<'a> {
    /// The message is for nobody's phone.
    pub never: bool,
    pub sender_id: Option<&'a str>,
    pub sender_device_id: Option<&'a str>,
    /// The sender's other devices get it too.
    pub sync: bool,
    pub only_devices: &'a [String],
    pub exclude_devices: &'a [String],
    /// Pushed even to an app in foreground or background, at quiet hours and from muted conversations; never to one that is
    /// logged out.
    pub force: bool,
}

/// Who of a user's devices gets the push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// None, for a reason that is not a device's.
    Nobody(SkipReason),
    /// By device, in their order: `None` means push.
    Each(Vec<Option<SkipReason>>),
}

/// Decides for one user.
pub fn decide(
    user: &User<'_>,
    devices: &[Candidate<'_>],
    wishes: &Wishes<'_>,
    settings: &AppSettings,
    now: DateTime<Utc>,
) -> Decision {
    if let Some(reason) = by_user(user, wishes, now) {
        return Decision::Nobody(reason);
    }
    if devices.is_empty() {
        return Decision::Nobody(SkipReason::NoDevice);
    }
    let devices: Vec<Candidate<'_>> =
        devices.iter().map(|device| Candidate { session: device.session.at(now, settings), ..*device }).collect();
    let mut decisions: Vec<Option<SkipReason>> = devices
        .iter()
        .map(|device| {
            by_message(user.user_id, device, wishes)
                .or_else(|| by_state(device, wishes, settings))
                .or_else(|| by_binding(device.binding))
        })
        .collect();
    if !wishes.force {
        by_other_devices(&devices, user.rule(settings), settings, now, &mut decisions);
    }
    Decision::Each(decisions)
}

/// What keeps the whole user from the push.
pub fn by_user(user: &User<'_>, wishes: &Wishes<'_>, now: DateTime<Utc>) -> Option<SkipReason> {
    let preferences = user.preferences;
    if wishes.never {
        Some(SkipReason::NeverPush)
    } else if preferences.is_some_and(|preferences| preferences.blocks(wishes.sender_id)) {
        Some(SkipReason::BlockedSender)
    } else if wishes.force {
        None
    } else if preferences.is_some_and(|preferences| preferences.is_quiet(now)) {
        Some(SkipReason::DoNotDisturb)
    } else {
        let is_muted = match user.notify {
            Notify::All => false,
            Notify::Mentions => !user.is_mentioned,
            Notify::None => true,
        };
        is_muted.then_some(SkipReason::ConversationMuted)
    }
}

/// What keeps one device from any push, by its own session and binding.
pub fn by_device(device: &Candidate<'_>, settings: &AppSettings, now: DateTime<Utc>) -> Option<SkipReason> {
    let device = Candidate { session: device.session.at(now, settings), ..*device };
    by_state(&device, &Wishes::default(), settings).or_else(|| by_binding(device.binding))
}

fn by_message(user_id: &str, device: &Candidate<'_>, wishes: &Wishes<'_>) -> Option<SkipReason> {
    let names = |list: &[String]| list.iter().any(|name| name == device.device_id);
    let is_own = wishes.sender_id == Some(user_id);
    if is_own && wishes.sender_device_id == Some(device.device_id) {
        Some(SkipReason::SenderDevice)
    } else if is_own && !wishes.sync {
        Some(SkipReason::OwnMessage)
    } else if names(wishes.exclude_devices) || (!wishes.only_devices.is_empty() && !names(wishes.only_devices)) {
        Some(SkipReason::ExcludedDevice)
    } else {
        None
    }
}

fn by_state(device: &Candidate<'_>, wishes: &Wishes<'_>, settings: &AppSettings) -> Option<SkipReason> {
    match device.session.state {
        SessionState::Killed => None,
        SessionState::Foreground | SessionState::Background if wishes.force => None,
        SessionState::Background if settings.push_in_background.contains(&device.session.platform) => None,
        SessionState::Foreground => Some(SkipReason::Foreground),
        SessionState::Background => Some(SkipReason::Background),
        SessionState::LoggedOut if device.binding == Some(BindingStatus::Pending) => Some(SkipReason::BindingPending),
        SessionState::LoggedOut => Some(SkipReason::LoggedOut),
        SessionState::Kicked => Some(SkipReason::Kicked),
        SessionState::Expired => Some(SkipReason::Expired),
    }
}

/// What a binding of this status keeps a device from.
pub fn by_binding(status: Option<BindingStatus>) -> Option<SkipReason> {
    match status {
        Some(BindingStatus::Active) => None,
        None => Some(SkipReason::NoToken),
        Some(BindingStatus::Pending) => Some(SkipReason::BindingPending),
        Some(BindingStatus::Muted) => Some(SkipReason::BindingMuted),
        Some(BindingStatus::Detached) => Some(SkipReason::BindingDetached),
        Some(BindingStatus::Superseded) => Some(SkipReason::BindingSuperseded),
        Some(BindingStatus::Invalid) => Some(SkipReason::BindingInvalid),
        Some(BindingStatus::Stale) => Some(SkipReason::BindingStale),
    }
}

/// The multi-device rule: devices that would be pushed to are not, because of what others do.
fn by_other_devices(
    devices: &[Candidate<'_>],
    rule: MultiDeviceRule,
    settings: &AppSettings,
    now: DateTime<Utc>,
    decisions: &mut [Option<SkipReason>],
) {
    let is_online = |device: &Candidate<'_>| match device.session.state {
        SessionState::Foreground => true,
        SessionState::Background => !settings.push_in_background.contains(&device.session.platform),
        _ => false,
    };
    let quiet_for = TimeDelta::seconds(i64::from(settings.desktop_quiet_s));
    let is_in_use = |device: &Candidate<'_>| {
        device.session.platform.is_desk()
            && device.session.state == SessionState::Foreground
            && now - device.session.used_at() <= quiet_for
    };
    let mut skip_all = |reason| decisions.iter_mut().for_each(|decision| *decision = decision.or(Some(reason)));
    match rule {
        MultiDeviceRule::AllOffline if devices.iter().any(is_online) => skip_all(SkipReason::OnlineElsewhere),
        MultiDeviceRule::DesktopQuiet if devices.iter().any(is_in_use) => skip_all(SkipReason::DesktopActive),
        MultiDeviceRule::Each | MultiDeviceRule::AllOffline | MultiDeviceRule::DesktopQuiet => {}
        MultiDeviceRule::Latest => {
            // A phone that could not get it, or that the message leaves out, does not keep it from one that can.
            let is_phone = |(device, decision): &(&Candidate<'_>, &Option<SkipReason>)| {
                !decision.is_some_and(leaves_out)
                    && device.session.platform.can_be_killed()
                    && device.session.state.is_live()
                    && device.binding == Some(BindingStatus::Active)
            };
            let used = |device: &Candidate<'_>| (device.session.used_at(), device.device_id.to_owned());
            let decided = devices.iter().zip(&*decisions);
            let latest = decided.filter(is_phone).map(|(device, _)| used(device)).max();
            for (device, decision) in devices.iter().zip(decisions) {
                if decision.is_none() && latest.as_ref().is_some_and(|latest| used(device) != *latest) {
                    *decision = Some(SkipReason::NotLatestDevice);
                }
            }
        }
    }
}

/// The message itself is not for this device.
const fn leaves_out(reason: SkipReason) -> bool {
    matches!(reason, SkipReason::ExcludedDevice | SkipReason::SenderDevice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::session::Platform;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_000_000, 0).unwrap()
    }

    fn device(id: &'static str, platform: Platform, state: SessionState, age_s: i64) -> Candidate<'static> {
        let event_time = now() - TimeDelta::seconds(age_s);
        let session = Session { platform, state, event_time, last_seen: None };
        Candidate { device_id: id, session, binding: Some(BindingStatus::Active) }
    }

    fn phone(state: SessionState, binding: Option<BindingStatus>) -> Candidate<'static> {
        Candidate { binding, ..device("phone", Platform::Android, state, 10) }
    }

    fn alice<'a>() -> User<'a> {
        User { user_id: "alice", preferences: None, notify: Notify::All, is_mentioned: false }
    }

    fn decide_one(device: Candidate<'_>, wishes: &Wishes<'_>, settings: &AppSettings) -> Option<SkipReason> {
        match decide(&alice(), &[device], wishes, settings, now()) {
            Decision::Nobody(reason) => Some(reason),
            Decision::Each(decisions) => decisions[0],
        }
    }

    #[test]
    fn only_a_killed_phone_with_an_active_binding_is_pushed_to() {
        use BindingStatus as B;
        use SessionState as S;
        let active = Some(B::Active);
        for (state, binding, expected) in [
            (S::Killed, active, None),
            (S::Foreground, active, Some(SkipReason::Foreground)),
            (S::Background, active, Some(SkipReason::Background)),
            (S::LoggedOut, active, Some(SkipReason::LoggedOut)),
            (S::LoggedOut, Some(B::Pending), Some(SkipReason::BindingPending)),
            (S::Kicked, active, Some(SkipReason::Kicked)),
            (S::Expired, active, Some(SkipReason::Expired)),
            (S::Killed, None, Some(SkipReason::NoToken)),
            (S::Killed, Some(B::Pending), Some(SkipReason::BindingPending)),
            (S::Killed, Some(B::Muted), Some(SkipReason::BindingMuted)),
            (S::Killed, Some(B::Detached), Some(SkipReason::BindingDetached)),
            (S::Killed, Some(B::Superseded), Some(SkipReason::BindingSuperseded)),
            (S::Killed, Some(B::Invalid), Some(SkipReason::BindingInvalid)),
            (S::Killed, Some(B::Stale), Some(SkipReason::BindingStale)),
        ] {
            let decision = decide_one(phone(state, binding), &Wishes::default(), &AppSettings::default());
            assert_eq!(decision, expected, "{state:?} {binding:?}");
        }
    }

    #[test]
    fn seven_days_and_a_second_after_the_kill_the_session_is_over() {
        for (age_s, expected) in [(7 * 86_400, None), (7 * 86_400 + 1, Some(SkipReason::Expired))] {
            let phone = device("phone", Platform::Ios, SessionState::Killed, age_s);
            assert_eq!(decide_one(phone, &Wishes::default(), &AppSettings::default()), expected);
        }
    }

    #[test]
    fn a_link_whose_heartbeats_stopped_counts_as_lost_before_any_sweep() {
        let settings = AppSettings::default();
        let seen = |platform, age_s: i64| {
            let mut device = device("d", platform, SessionState::Foreground, 100_000);
            device.session.last_seen = Some(now() - TimeDelta::seconds(age_s));
            decide_one(device, &Wishes::default(), &settings)
        };
        assert_eq!(seen(Platform::Android, 400), Some(SkipReason::Foreground));
        assert_eq!(seen(Platform::Android, 401), None, "killed");
        assert_eq!(seen(Platform::Web, 60), Some(SkipReason::Foreground));
        assert_eq!(seen(Platform::Web, 61), Some(SkipReason::LoggedOut));
    }

    #[test]
    fn force_and_the_background_setting_reach_online_devices_and_nobody_else() {
        let forced = Wishes { force: true, ..Wishes::default() };
        let pushing = AppSettings { push_in_background: vec![Platform::Android], ..AppSettings::default() };
        let active = Some(BindingStatus::Active);
        let background = phone(SessionState::Background, active);
        assert_eq!(decide_one(background, &Wishes::default(), &pushing), None);
        assert_eq!(decide_one(background, &forced, &AppSettings::default()), None);
        assert_eq!(decide_one(phone(SessionState::Foreground, active), &forced, &AppSettings::default()), None);
        let logged_out = decide_one(phone(SessionState::LoggedOut, active), &forced, &pushing);
        assert_eq!(logged_out, Some(SkipReason::LoggedOut));
    }

    #[test]
    fn the_message_can_leave_devices_out() {
        let list = vec!["phone".to_owned()];
        let other = vec!["tablet".to_owned()];
        let decide = |wishes: Wishes<'_>| {
            decide_one(phone(SessionState::Killed, Some(BindingStatus::Active)), &wishes, &AppSettings::default())
        };
        assert_eq!(decide(Wishes { only_devices: &list, ..Wishes::default() }), None);
        assert_eq!(decide(Wishes { only_devices: &other, ..Wishes::default() }), Some(SkipReason::ExcludedDevice));
        assert_eq!(decide(Wishes { exclude_devices: &list, ..Wishes::default() }), Some(SkipReason::ExcludedDevice));
        assert_eq!(decide(Wishes { never: true, ..Wishes::default() }), Some(SkipReason::NeverPush));
        let own = Wishes { sender_id: Some("alice"), sender_device_id: Some("phone"), ..Wishes::default() };
        assert_eq!(decide(own), Some(SkipReason::SenderDevice));
        let from_desk = Wishes { sender_device_id: Some("desk"), ..own };
        assert_eq!(decide(from_desk), Some(SkipReason::OwnMessage));
        assert_eq!(decide(Wishes { sync: true, ..from_desk }), None);
        assert_eq!(decide(Wishes { sync: true, ..own }), Some(SkipReason::SenderDevice));
        let somebody_elses = Wishes { sender_id: Some("bob"), ..own };
        assert_eq!(decide(somebody_elses), None, "device ids are unique per user only");
    }

    #[test]
    fn the_users_preferences_are_heard_unless_the_message_is_forced() {
        let quiet: Preferences =
            serde_json::from_str(r#"{"do_not_disturb":[{"start":"00:00","end":"00:00"}]}"#).unwrap();
        let blocking: Preferences = serde_json::from_str(r#"{"blocked_senders":["bob"]}"#).unwrap();
        let from_bob = Wishes { sender_id: Some("bob"), ..Wishes::default() };
        let forced = Wishes { force: true, ..from_bob };
        let with = |preferences| User { preferences: Some(preferences), ..alice() };
        let notifying = |notify, is_mentioned| User { notify, is_mentioned, ..alice() };
        for (user, wishes, expected) in [
            (with(&quiet), from_bob, Some(SkipReason::DoNotDisturb)),
            (with(&quiet), forced, None),
            (with(&blocking), from_bob, Some(SkipReason::BlockedSender)),
            (with(&blocking), forced, Some(SkipReason::BlockedSender)),
            (with(&blocking), Wishes::default(), None),
            (notifying(Notify::None, true), from_bob, Some(SkipReason::ConversationMuted)),
            (notifying(Notify::Mentions, false), from_bob, Some(SkipReason::ConversationMuted)),
            (notifying(Notify::Mentions, true), from_bob, None),
            (notifying(Notify::None, false), forced, None),
        ] {
            assert_eq!(by_user(&user, &wishes, now()), expected, "{user:?} {wishes:?}");
        }
    }

    #[test]
    fn web_online_and_phone_killed_under_each_rule() {
        use MultiDeviceRule::{AllOffline, DesktopQuiet, Each, Latest};
        use SessionState::{Background, Foreground, Killed};
        let decisions = |rule, devices: &[Candidate<'_>]| {
            let settings = AppSettings { multi_device: rule, ..AppSettings::default() };
            match decide(&alice(), devices, &Wishes::default(), &settings, now()) {
                Decision::Each(decisions) => decisions.into_iter().last().unwrap(),
                Decision::Nobody(reason) => Some(reason),
            }
        };
        let phone = device("phone", Platform::Android, Killed, 100);
        for (rule, state, age_s, expected) in [
            (Each, Foreground, 10, None),
            (AllOffline, Foreground, 10, Some(SkipReason::OnlineElsewhere)),
            (AllOffline, Background, 10, Some(SkipReason::OnlineElsewhere)),
            (AllOffline, Killed, 10, None),
            (DesktopQuiet, Foreground, 300, Some(SkipReason::DesktopActive)),
            (DesktopQuiet, Foreground, 301, None),
            (DesktopQuiet, Background, 10, None),
            (Latest, Foreground, 10, None),
        ] {
            let web = Candidate { binding: None, ..device("web", Platform::Web, state, age_s) };
            assert_eq!(decisions(rule, &[web, phone]), expected, "{rule:?} {state:?} {age_s}");
        }
        let older = device("older", Platform::Ios, Killed, 200);
        let newer = device("newer", Platform::Ios, Killed, 50);
        assert_eq!(decisions(Latest, &[older, phone]), None);
        assert_eq!(decisions(Latest, &[newer, phone]), Some(SkipReason::NotLatestDevice));
        let in_front = device("newer", Platform::Ios, Foreground, 50);
        assert_eq!(decisions(Latest, &[in_front, phone]), Some(SkipReason::NotLatestDevice));
        let dead = Candidate { binding: Some(BindingStatus::Invalid), ..newer };
        assert_eq!(decisions(Latest, &[dead, phone]), None, "a phone without a token keeps nobody from the push");
        assert_eq!(decisions(DesktopQuiet, &[Candidate { session: in_front.session, ..phone }, phone]), None);
    }

    #[test]
    fn the_latest_phone_is_chosen_among_those_the_message_is_for() {
        let settings = AppSettings { multi_device: MultiDeviceRule::Latest, ..AppSettings::default() };
        let (old, new) = (vec!["old".to_owned()], vec!["new".to_owned()]);
        let devices = [
            device("oldest", Platform::Ios, SessionState::Killed, 300),
            device("old", Platform::Ios, SessionState::Killed, 200),
            device("new", Platform::Android, SessionState::Killed, 100),
        ];
        let (not_latest, left_out) = (Some(SkipReason::NotLatestDevice), Some(SkipReason::ExcludedDevice));
        let own = Wishes { sender_id: Some("alice"), sender_device_id: Some("new"), sync: true, ..Wishes::default() };
        for (wishes, expected) in [
            (Wishes::default(), [not_latest, not_latest, None]),
            (Wishes { exclude_devices: &new, ..Wishes::default() }, [not_latest, None, left_out]),
            (Wishes { only_devices: &old, ..Wishes::default() }, [left_out, None, left_out]),
            (own, [not_latest, None, Some(SkipReason::SenderDevice)]),
        ] {
            let decision = decide(&alice(), &devices, &wishes, &settings, now());
            assert_eq!(decision, Decision::Each(expected.to_vec()), "{wishes:?}");
        }
    }

    #[test]
    fn a_users_own_rule_beats_the_apps() {
        let own: Preferences = serde_json::from_str(r#"{"multi_device":"each"}"#).unwrap();
        let settings = AppSettings { multi_device: MultiDeviceRule::AllOffline, ..AppSettings::default() };
        let devices = [
            device("web", Platform::Web, SessionState::Foreground, 10),
            device("phone", Platform::Android, SessionState::Killed, 10),
        ];
        let user = User { preferences: Some(&own), ..alice() };
        let decision = decide(&user, &devices, &Wishes::default(), &settings, now());
        assert_eq!(decision, Decision::Each(vec![Some(SkipReason::Foreground), None]));
    }
}
