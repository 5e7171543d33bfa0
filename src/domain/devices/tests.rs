use std::sync::LazyLock;

use super::*;
use crate::domain::id::CertificateId;
use crate::domain::kick::{KickPolicy, KickSettings};
use crate::domain::session::{MAX_AGE, judge_time};

static SETTINGS: LazyLock<AppSettings> = LazyLock::new(AppSettings::default);
static SINGLE: LazyLock<AppSettings> = LazyLock::new(|| enforcing(KickPolicy::Single));
static TRIPLE: LazyLock<AppSettings> = LazyLock::new(|| enforcing(KickPolicy::Triple));

fn enforcing(policy: KickPolicy) -> AppSettings {
    AppSettings { kick: KickSettings { enforce: true, policy, ..KickSettings::default() }, ..AppSettings::default() }
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_000_000 + seconds, 0).unwrap()
}

fn devices() -> Devices<'static> {
    Devices::new([], at(300), &SETTINGS)
}

/// The same devices, loaded anew later: what time did to them is seen.
fn later(devices: &Devices<'static>, seconds: i64) -> Devices<'static> {
    Devices::new(devices.rows.values().cloned().collect::<Vec<_>>(), at(seconds), devices.settings)
}

fn token(token: &str) -> ReportedToken {
    ReportedToken { certificate_id: CertificateId(1), vendor: VendorKind::Xiaomi, token: token.to_owned() }
}

fn event(user: &str, device: &str, kind: EventType, seconds: i64) -> Event {
    Event::plain(user, device, Platform::Android, kind, at(seconds))
}

fn login(user: &str, device: &str, seconds: i64, with: &str) -> Event {
    Event { token: Some(token(with)), ..event(user, device, EventType::Login, seconds) }
}

fn apply(devices: &mut Devices<'_>, event: &Event) -> Applied {
    devices.apply(event)
}

fn state(devices: &Devices<'_>, user: &str, device: &str) -> (SessionState, Option<BindingStatus>) {
    let device = devices.get(user, device).unwrap();
    (device.state, device.binding.as_ref().map(|binding| binding.status))
}

#[test]
fn transitions_of_a_logged_in_phone() {
    use BindingStatus::{Active, Detached};
    for (kind, expected) in [
        (EventType::Disconnect, (SessionState::Killed, Some(Active))),
        (EventType::Background, (SessionState::Background, Some(Active))),
        (EventType::Foreground, (SessionState::Foreground, Some(Active))),
        (EventType::Read, (SessionState::Foreground, Some(Active))),
        (EventType::Logout, (SessionState::LoggedOut, Some(Detached))),
        (EventType::Kicked, (SessionState::Kicked, Some(Detached))),
    ] {
        let mut devices = devices();
        apply(&mut devices, &login("alice", "phone", 0, "t"));
        assert_eq!(apply(&mut devices, &event("alice", "phone", kind, 1)), Applied::Applied);
        assert_eq!(state(&devices, "alice", "phone"), expected, "{kind:?}");
    }
}

#[test]
fn only_phones_and_tablets_can_be_killed() {
    for platform in Platform::ALL {
        let mut devices = devices();
        let with_platform = |kind, seconds| Event { platform, ..event("alice", "d", kind, seconds) };
        apply(&mut devices, &with_platform(EventType::Login, 0));
        apply(&mut devices, &with_platform(EventType::Disconnect, 1));
        let expected = if platform.can_be_killed() { SessionState::Killed } else { SessionState::LoggedOut };
        assert_eq!(state(&devices, "alice", "d").0, expected, "{platform:?}");
    }
}

#[test]
fn a_late_logout_of_an_older_login_is_stale_and_a_tie_is_not() {
    let mut devices = devices();
    apply(&mut devices, &login("alice", "phone", 10, "t"));
    assert_eq!(apply(&mut devices, &event("alice", "phone", EventType::Logout, 5)), Applied::Stale);
    assert_eq!(state(&devices, "alice", "phone").0, SessionState::Foreground);
    assert_eq!(apply(&mut devices, &event("alice", "phone", EventType::Disconnect, 10)), Applied::Applied);
}

#[test]
fn a_login_sequence_beats_the_event_time() {
    let mut devices = devices();
    let with_seq = |kind, seconds, seq| Event { login_seq: Some(seq), ..event("alice", "phone", kind, seconds) };
    apply(&mut devices, &with_seq(EventType::Login, 10, 2));
    assert_eq!(apply(&mut devices, &with_seq(EventType::Logout, 20, 1)), Applied::Stale, "of the older login");
    assert_eq!(apply(&mut devices, &with_seq(EventType::Login, 5, 3)), Applied::Applied, "a newer login");
    assert_eq!(apply(&mut devices, &with_seq(EventType::Logout, 6, 3)), Applied::Applied);
    assert_eq!(state(&devices, "alice", "phone").0, SessionState::LoggedOut);
}

#[test]
fn another_user_on_the_same_phone_signs_the_first_one_out() {
    let mut devices = devices();
    apply(&mut devices, &login("alice", "phone", 0, "t"));
    apply(&mut devices, &login("bob", "phone", 1, "t"));
    assert_eq!(state(&devices, "alice", "phone").0, SessionState::LoggedOut);
    assert!(!devices.get("alice", "phone").unwrap().binding.as_ref().unwrap().status.is_live());
    assert_eq!(state(&devices, "bob", "phone"), (SessionState::Foreground, Some(BindingStatus::Active)));
    assert!(devices.revoked().any(|key| key.0 == "alice"));
}

#[test]
fn the_same_token_under_another_device_id_moves_and_signs_out() {
    let mut devices = devices();
    apply(&mut devices, &login("alice", "old-id", 0, "t"));
    apply(&mut devices, &login("bob", "new-id", 1, "t"));
    assert_eq!(state(&devices, "alice", "old-id"), (SessionState::LoggedOut, Some(BindingStatus::Superseded)));
    // A reinstall of the same user keeps the session but not the binding.
    apply(&mut devices, &login("bob", "newest-id", 2, "t"));
    assert_eq!(state(&devices, "bob", "new-id"), (SessionState::Foreground, Some(BindingStatus::Superseded)));
}

#[test]
fn a_report_before_the_login_is_pending_supersedes_nobody_and_counts_for_ten_minutes() {
    for (login_after_s, expected) in [(600, Some(BindingStatus::Active)), (601, None)] {
        let mut devices = devices();
        apply(&mut devices, &login("alice", "phone", 0, "t"));
        assert!(devices.report_token("bob", "tablet", Platform::Android, &token("t")).0);
        assert_eq!(state(&devices, "alice", "phone").1, Some(BindingStatus::Active), "pending supersedes nobody");
        let mut devices = later(&devices, 300 + login_after_s);
        apply(&mut devices, &event("bob", "tablet", EventType::Login, 300 + login_after_s));
        assert_eq!(state(&devices, "bob", "tablet").1, expected);
    }
}

#[test]
fn an_unchanged_report_writes_nothing_until_an_hour_has_passed() {
    let mut devices = devices();
    apply(&mut devices, &login("alice", "phone", 0, "t"));
    for (seconds, writes) in [(59 * 60, 0), (60 * 60, 1)] {
        let mut devices = later(&devices, seconds);
        assert!(!devices.report_token("alice", "phone", Platform::Android, &token("t")).0);
        assert_eq!(devices.changed().count(), writes);
    }
}

#[test]
fn the_same_text_of_another_vendor_is_another_token() {
    let of_meizu = ReportedToken { vendor: VendorKind::Meizu, ..token("t") };
    let mut stored = devices();
    apply(&mut stored, &login("alice", "phone", 0, "t"));
    apply(&mut stored, &event("alice", "phone", EventType::Disconnect, 1));
    let mut devices = later(&stored, 300);
    devices.report_token("bob", "tablet", Platform::Android, &of_meizu);
    apply(&mut devices, &event("bob", "tablet", EventType::Login, 2));
    assert_eq!(state(&devices, "alice", "phone"), (SessionState::Killed, Some(BindingStatus::Active)));
    devices.report_token("alice", "phone", Platform::Android, &of_meizu);
    assert!(devices.revoked().any(|key| key.0 == "alice"), "what is queued for the old one is judged again");
}

#[test]
fn kicked_devices_are_named_and_the_new_one_is_spared() {
    let mut devices = devices();
    for device in ["old", "tablet", "new"] {
        apply(&mut devices, &login("alice", device, 0, device));
    }
    let kicked_devices = vec!["old".to_owned(), "tablet".to_owned(), "new".to_owned()];
    apply(&mut devices, &Event { kicked_devices, ..event("alice", "new", EventType::Kicked, 1) });
    assert_eq!(state(&devices, "alice", "old").0, SessionState::Kicked);
    assert_eq!(state(&devices, "alice", "tablet").0, SessionState::Kicked);
    assert_eq!(state(&devices, "alice", "new").0, SessionState::Foreground);
}

#[test]
fn a_login_that_another_users_later_login_overtook_changes_nothing() {
    for device in ["phone", "other-id"] {
        let mut devices = devices();
        apply(&mut devices, &login("alice", "phone", 20, "t"));
        assert_eq!(apply(&mut devices, &login("bob", device, 10, "t")), Applied::Stale);
        assert_eq!(state(&devices, "alice", "phone"), (SessionState::Foreground, Some(BindingStatus::Active)));
        assert!(devices.get("bob", device).is_none());
    }
}

#[test]
fn a_login_that_comes_too_late_for_the_token_that_waited_for_it_changes_nothing() {
    let mut devices = devices();
    devices.report_token("bob", "tablet", Platform::Android, &token("t"));
    apply(&mut devices, &login("alice", "phone", 20, "t"));
    assert_eq!(apply(&mut devices, &event("bob", "tablet", EventType::Login, 10)), Applied::Stale);
    assert_eq!(state(&devices, "alice", "phone"), (SessionState::Foreground, Some(BindingStatus::Active)));
    assert_eq!(state(&devices, "bob", "tablet"), (SessionState::LoggedOut, Some(BindingStatus::Pending)));
    assert_eq!(apply(&mut devices, &event("bob", "tablet", EventType::Login, 21)), Applied::Applied);
    assert_eq!(state(&devices, "alice", "phone"), (SessionState::LoggedOut, Some(BindingStatus::Superseded)));
}

#[test]
fn a_kick_by_list_ignores_the_staying_devices_login_sequence() {
    let mut devices = devices();
    let with_seq = |device: &str, seq| Event { login_seq: Some(seq), ..login("alice", device, 0, device) };
    apply(&mut devices, &with_seq("old", 7));
    apply(&mut devices, &with_seq("new", 1));
    let kicked_devices = vec!["old".to_owned()];
    let kick = Event { kicked_devices, login_seq: Some(1), ..event("alice", "new", EventType::Kicked, 1) };
    assert_eq!(apply(&mut devices, &kick), Applied::Applied);
    let kicked = devices.get("alice", "old").unwrap();
    assert_eq!((kicked.state, kicked.login_seq), (SessionState::Kicked, Some(7)));
}

#[test]
fn a_late_logout_leaves_a_later_report_to_the_next_login() {
    let mut devices = devices();
    apply(&mut devices, &login("alice", "phone", 0, "t"));
    devices.now = at(61);
    devices.report_token("alice", "phone", Platform::Android, &token("t2"));
    apply(&mut devices, &event("alice", "phone", EventType::Logout, 50));
    assert_eq!(state(&devices, "alice", "phone"), (SessionState::LoggedOut, Some(BindingStatus::Pending)));
    devices.apply(&event("alice", "phone", EventType::Login, 60));
    assert_eq!(state(&devices, "alice", "phone").1, Some(BindingStatus::Active));
}

#[test]
fn refusals() {
    let mut devices = devices();
    let unknown = apply(&mut devices, &event("alice", "phone", EventType::Disconnect, 0));
    assert_eq!(unknown, Applied::Refused(Refusal::UnknownDevice));
    apply(&mut devices, &login("alice", "phone", 0, "t"));
    apply(&mut devices, &event("alice", "phone", EventType::Logout, 1));
    let gone = apply(&mut devices, &event("alice", "phone", EventType::Background, 2));
    assert_eq!(gone, Applied::Refused(Refusal::NotLoggedIn));
    assert_eq!(judge_time(at(0), at(0) + MAX_AGE), Ok((at(0), false)));
    assert_eq!(judge_time(at(0), at(1) + MAX_AGE), Err(Refusal::TooOld));
    assert_eq!(judge_time(at(5), at(0)), Ok((at(5), false)));
    assert_eq!(judge_time(at(6), at(0)), Ok((at(0), true)));
}

#[test]
fn platforms_are_read_without_regard_to_case() {
    for name in ["IOS", "iOS", "ios"] {
        assert_eq!(Platform::parse(name), Some(Platform::Ios));
    }
    assert_eq!(Platform::parse("symbian"), None);
}

/// The whole table: what each event makes of a phone in each state. `None`: refused, nothing changes.
#[test]
fn every_event_in_every_state() {
    use EventType as E;
    use SessionState::{Background, Expired, Foreground, Kicked, Killed, LoggedOut};
    let live = |next| [Some(next), Some(next), Some(next), None, None, None];
    let states = [Foreground, Background, Killed, LoggedOut, Kicked, Expired];
    let table = [
        (E::Login, [Some(Foreground); 6]),
        (E::Foreground, live(Foreground)),
        (E::Reconnect, [Some(Foreground), Some(Foreground), Some(Foreground), None, None, Some(Foreground)]),
        (E::Background, live(Background)),
        (E::Disconnect, live(Killed)),
        (E::Heartbeat, [Some(Foreground), Some(Background), Some(Background), None, None, None]),
        (E::Read, [Some(Foreground), Some(Background), Some(Killed), None, None, None]),
        // Who is out already stays out as he is.
        (E::Logout, [LoggedOut, LoggedOut, LoggedOut, LoggedOut, Kicked, Expired].map(Some)),
        (E::Kicked, [Kicked, Kicked, Kicked, LoggedOut, Kicked, Expired].map(Some)),
    ];
    for (kind, expected) in table {
        for (state, expected) in states.into_iter().zip(expected) {
            let row = Device { state, event_time: at(0), ..Device::unknown("alice", "phone", Platform::Android) };
            let mut devices = Devices::new([row.clone()], at(300), &SETTINGS);
            let applied = apply(&mut devices, &event("alice", "phone", kind, 1));
            let refused = Applied::Refused(Refusal::NotLoggedIn);
            assert_eq!(applied, expected.map_or(refused, |_| Applied::Applied), "{kind:?} in {state:?}");
            let after = devices.get("alice", "phone").unwrap();
            assert_eq!(after.state, expected.unwrap_or(state), "{kind:?} in {state:?}");
            if expected.is_none() {
                // That the link was lost is remembered for a login that is told later.
                let remembered = Device { disconnected_at: after.disconnected_at, ..row.clone() };
                assert_eq!(after, &remembered, "{kind:?} in {state:?}");
                assert_eq!(after.disconnected_at, (kind == E::Disconnect).then_some(at(1)), "{kind:?} in {state:?}");
            }
            // The same once more changes nothing.
            let mut again = Devices::new([after.clone()], at(300), &SETTINGS);
            apply(&mut again, &event("alice", "phone", kind, 1));
            assert_eq!(again.changed().count(), 0, "{kind:?} in {state:?}, repeated");
            // One that is older than what is known does not count; but what was read stays read.
            let mut late = Devices::new([row], at(300), &SETTINGS);
            let expected = if kind == E::Read { Applied::Applied } else { Applied::Stale };
            assert_eq!(apply(&mut late, &event("alice", "phone", kind, -1)), expected, "{kind:?} in {state:?}");
            assert_eq!(late.changed().count(), 0);
        }
    }
}

#[test]
fn a_batch_sent_again_changes_nothing() {
    let batch = [
        login("alice", "phone", 0, "t"),
        event("alice", "phone", EventType::Background, 5),
        event("alice", "phone", EventType::Disconnect, 9),
        login("bob", "tablet", 3, "t2"),
        event("bob", "tablet", EventType::Logout, 4),
    ];
    let mut first = devices();
    for event in &batch {
        assert_eq!(apply(&mut first, event), Applied::Applied);
    }
    let mut second = later(&first, 310);
    for event in &batch {
        apply(&mut second, event);
    }
    assert_eq!(second.changed().count(), 0);
    assert_eq!(state(&second, "alice", "phone"), (SessionState::Killed, Some(BindingStatus::Active)));
}

#[test]
fn after_seven_days_and_a_second_the_session_expires_and_the_next_login_revives_its_binding() {
    let week = 7 * 86_400;
    let mut devices = devices();
    apply(&mut devices, &login("alice", "phone", 0, "t"));
    apply(&mut devices, &event("alice", "phone", EventType::Disconnect, 10));
    assert_eq!(later(&devices, 10 + week).changed().count(), 0);
    let mut expired = later(&devices, 11 + week);
    assert_eq!(state(&expired, "alice", "phone"), (SessionState::Expired, Some(BindingStatus::Stale)));
    assert_eq!(expired.revoked().count(), 1, "what waits for it is cancelled");
    let back = apply(&mut expired, &event("alice", "phone", EventType::Foreground, 11 + week));
    assert_eq!(back, Applied::Refused(Refusal::NotLoggedIn));
    apply(&mut expired, &event("alice", "phone", EventType::Login, 11 + week));
    assert_eq!(state(&expired, "alice", "phone"), (SessionState::Foreground, Some(BindingStatus::Active)));
}

#[test]
fn a_link_without_heartbeats_is_lost_and_one_that_never_sent_any_is_not() {
    for platform in [Platform::Android, Platform::Web] {
        let with_platform = |kind, seconds| Event { platform, ..event("alice", "d", kind, seconds) };
        let mut quiet = devices();
        apply(&mut quiet, &with_platform(EventType::Login, 0));
        assert_eq!(later(&quiet, 100_000).changed().count(), 0);
        apply(&mut quiet, &with_platform(EventType::Heartbeat, 120));
        let timeout = if platform == Platform::Web { 60 } else { 400 };
        assert_eq!(later(&quiet, 120 + timeout).changed().count(), 0);
        let mut lost = later(&quiet, 121 + timeout);
        let expected = if platform == Platform::Web { SessionState::LoggedOut } else { SessionState::Killed };
        assert_eq!(state(&lost, "alice", "d").0, expected);
        // A late event of the app still counts: the loss is dated by the last sign of life.
        let back = apply(&mut lost, &with_platform(EventType::Foreground, 121));
        assert_eq!(back == Applied::Applied, platform != Platform::Web);
    }
}

#[test]
fn a_heartbeat_soon_after_another_is_not_written_and_revives_a_killed_session() {
    let mut devices = devices();
    apply(&mut devices, &login("alice", "phone", 0, "t"));
    apply(&mut devices, &event("alice", "phone", EventType::Heartbeat, 120));
    let mut soon = later(&devices, 300);
    apply(&mut soon, &event("alice", "phone", EventType::Heartbeat, 150));
    assert_eq!(soon.changed().count(), 0);
    apply(&mut soon, &event("alice", "phone", EventType::Heartbeat, 240));
    assert_eq!(soon.changed().count(), 1);
    apply(&mut soon, &event("alice", "phone", EventType::Disconnect, 241));
    apply(&mut soon, &event("alice", "phone", EventType::Heartbeat, 250));
    assert_eq!(state(&soon, "alice", "phone").0, SessionState::Background, "where the app is nobody said");
}

#[test]
fn a_login_kicks_whom_the_policy_leaves_no_room_for() {
    let mut devices = Devices::new([], at(300), &TRIPLE);
    let with_platform = |device: &str, platform, seconds| Event { platform, ..login("alice", device, seconds, device) };
    for (device, platform, seconds) in
        [("phone", Platform::Android, 0), ("web", Platform::Web, 1), ("pad", Platform::Ipados, 2)]
    {
        assert_eq!(apply(&mut devices, &with_platform(device, platform, seconds)), Applied::Applied);
    }
    assert_eq!(state(&devices, "alice", "phone"), (SessionState::Kicked, Some(BindingStatus::Detached)));
    assert_eq!(state(&devices, "alice", "web").0, SessionState::Foreground);
    assert_eq!(state(&devices, "alice", "pad").0, SessionState::Foreground);
    apply(&mut devices, &login("bob", "his", 3, "his"));
    assert_eq!(state(&devices, "alice", "pad").0, SessionState::Foreground, "another user's login kicks nobody");
}

#[test]
fn a_device_that_was_forgotten_and_logs_in_at_once_is_not_in_its_own_way() {
    let mut deleted = Devices::new([], at(300), &SINGLE);
    apply(&mut deleted, &login("alice", "phone", 0, "t"));
    apply(&mut deleted, &event("alice", "", EventType::UserDeleted, 1));
    apply(&mut deleted, &login("alice", "phone", 1, "t"));
    assert_eq!(state(&deleted, "alice", "phone"), (SessionState::Foreground, Some(BindingStatus::Active)));
    let mut reported = Devices::new([], at(300), &SINGLE);
    reported.report_token("alice", "phone", Platform::Android, &token("t"));
    let mut lapsed = later(&reported, 901);
    apply(&mut lapsed, &login("alice", "phone", 901, "t"));
    assert_eq!(state(&lapsed, "alice", "phone"), (SessionState::Foreground, Some(BindingStatus::Active)));
}

#[test]
fn a_login_told_late_is_the_one_that_is_kicked() {
    let mut devices = Devices::new([], at(300), &SINGLE);
    apply(&mut devices, &login("alice", "new", 20, "new"));
    assert_eq!(apply(&mut devices, &login("alice", "old", 10, "old")), Applied::Applied);
    assert_eq!(state(&devices, "alice", "new").0, SessionState::Foreground);
    assert_eq!(state(&devices, "alice", "old"), (SessionState::Kicked, Some(BindingStatus::Detached)));
}

#[test]
fn of_two_logins_at_the_same_time_the_later_arrival_stays() {
    for (first, second) in [("a", "b"), ("b", "a")] {
        let mut devices = Devices::new([], at(300), &SINGLE);
        apply(&mut devices, &login("alice", first, 0, first));
        // Stored rows come in the order of their names; that of a login is made before.
        let unknown = |device| Device::unknown("alice", device, Platform::Android);
        let row = |device| devices.get("alice", device).cloned().unwrap_or_else(|| unknown(device));
        let mut devices = Devices::new(["a", "b"].map(row), at(300), &SINGLE);
        apply(&mut devices, &login("alice", second, 0, second));
        assert_eq!(state(&devices, "alice", first).0, SessionState::Kicked);
        assert_eq!(state(&devices, "alice", second).0, SessionState::Foreground);
    }
}

#[test]
fn without_enforcement_nobody_is_kicked_and_a_kick_by_platform_is_obeyed() {
    let mut devices = devices();
    for device in ["old", "older", "new"] {
        apply(&mut devices, &login("alice", device, 0, device));
    }
    apply(&mut devices, &Event { platform: Platform::Ios, ..login("alice", "iphone", 0, "iphone") });
    let kick = Event { kicked_platforms: vec![Platform::Android], ..event("alice", "new", EventType::Kicked, 1) };
    assert_eq!(apply(&mut devices, &kick), Applied::Applied);
    let states = ["old", "older", "new", "iphone"].map(|device| state(&devices, "alice", device).0);
    let (kicked, foreground) = (SessionState::Kicked, SessionState::Foreground);
    assert_eq!(states, [kicked, kicked, foreground, foreground]);
}

#[test]
fn an_unread_count_told_by_one_device_holds_for_all() {
    let mut devices = devices();
    apply(&mut devices, &login("alice", "phone", 0, "t"));
    apply(&mut devices, &login("alice", "desk", 0, "t2"));
    let read = Event { unread: Some(3), ..event("alice", "desk", EventType::Read, 1) };
    assert_eq!(apply(&mut devices, &read), Applied::Applied);
    assert_eq!(devices.get("alice", "phone").unwrap().unread, Some(3));
}

#[test]
fn a_token_report_as_an_event_keeps_its_place_in_time() {
    let report = |seconds, with: &str| Event {
        token: Some(token(with)),
        ..event("alice", "phone", EventType::TokenReport, seconds)
    };
    let bound = |devices: &Devices<'_>| devices.get("alice", "phone").unwrap().binding.clone().unwrap();
    let mut devices = devices();
    apply(&mut devices, &login("alice", "phone", 0, "t"));
    apply(&mut devices, &event("alice", "phone", EventType::Background, 20));
    assert_eq!(apply(&mut devices, &report(10, "t2")), Applied::Applied, "an event in between takes nothing from it");
    assert_eq!((bound(&devices).token.as_str(), bound(&devices).status), ("t2", BindingStatus::Active));
    assert_eq!(apply(&mut devices, &report(5, "t1")), Applied::Stale, "a newer one is known");
    apply(&mut devices, &event("alice", "phone", EventType::Logout, 30));
    assert_eq!(apply(&mut devices, &report(25, "t3")), Applied::Stale, "of the session that ended");
    assert_eq!(apply(&mut devices, &report(35, "t4")), Applied::Applied);
    assert_eq!((bound(&devices).token.as_str(), bound(&devices).status), ("t4", BindingStatus::Pending));
}

#[test]
fn a_deleted_user_is_forgotten_and_a_newer_account_of_the_name_is_not() {
    let mut stored = devices();
    apply(&mut stored, &login("alice", "phone", 0, "t"));
    apply(&mut stored, &login("alice", "desk", 50, "t2"));
    let mut devices = later(&stored, 300);
    assert_eq!(apply(&mut devices, &event("alice", "", EventType::UserDeleted, 20)), Applied::Stale);
    assert!(devices.get("alice", "phone").is_none() && devices.get("alice", "desk").is_some());
    assert_eq!(devices.deleted().count(), 1);
    assert!(devices.revoked().any(|key| key.1 == "phone"));
    assert_eq!(apply(&mut devices, &event("alice", "", EventType::UserDeleted, 60)), Applied::Applied);
    assert_eq!((devices.deleted().count(), devices.changed().count()), (2, 0));
}

fn report(user: &str, device: &str, seconds: i64, with: &str) -> Event {
    Event { token: Some(token(with)), ..event(user, device, EventType::TokenReport, seconds) }
}

fn bound(devices: &Devices<'_>, user: &str, device: &str) -> (String, BindingStatus, DateTime<Utc>) {
    let binding = devices.get(user, device).unwrap().binding.clone().unwrap();
    (binding.token, binding.status, binding.reported_at)
}

#[test]
fn a_login_told_again_does_not_bring_back_the_token_it_came_with() {
    for since in [2, 0] {
        let mut stored = devices();
        apply(&mut stored, &login("alice", "phone", 0, "t1"));
        apply(&mut stored, &report("alice", "phone", since, "t2"));
        let mut again = later(&stored, 300);
        assert_eq!(apply(&mut again, &login("alice", "phone", 0, "t1")), Applied::Applied);
        assert_eq!(again.changed().count(), 0, "the report came {since} s after the login");
        assert_eq!(bound(&again, "alice", "phone"), ("t2".to_owned(), BindingStatus::Active, at(since)));
    }
    for status in [BindingStatus::Invalid, BindingStatus::Muted, BindingStatus::Detached, BindingStatus::Superseded] {
        let mut stored = devices();
        apply(&mut stored, &login("alice", "phone", 0, "t"));
        stored.set_binding_status(&("alice".to_owned(), "phone".to_owned()), status);
        let mut again = later(&stored, 300);
        apply(&mut again, &login("alice", "phone", 0, "t"));
        apply(&mut again, &report("alice", "phone", 0, "t"));
        assert_eq!(again.changed().count(), 0, "{status:?}");
    }
}

#[test]
fn a_report_told_late_takes_a_token_from_nobody_who_reported_it_later() {
    let mut devices = devices();
    apply(&mut devices, &login("alice", "old", 0, "t0"));
    apply(&mut devices, &login("bob", "new", 8, "t"));
    assert_eq!(apply(&mut devices, &report("alice", "old", 5, "t")), Applied::Stale);
    assert_eq!(bound(&devices, "alice", "old"), ("t0".to_owned(), BindingStatus::Active, at(0)));
    assert_eq!(bound(&devices, "bob", "new"), ("t".to_owned(), BindingStatus::Active, at(8)));
    assert_eq!(
        apply(&mut devices, &report("alice", "old", 8, "t")),
        Applied::Applied,
        "at the same time the later counts"
    );
    assert_eq!(bound(&devices, "bob", "new").1, BindingStatus::Superseded);
}

#[test]
fn a_login_told_late_takes_a_token_from_nobody_who_reported_it_later() {
    let mut devices = devices();
    apply(&mut devices, &login("bob", "his", 1, "t0"));
    apply(&mut devices, &report("bob", "his", 8, "t"));
    assert_eq!(apply(&mut devices, &login("alice", "hers", 5, "t")), Applied::Applied);
    assert_eq!(state(&devices, "alice", "hers"), (SessionState::Foreground, Some(BindingStatus::Superseded)));
    assert_eq!(state(&devices, "bob", "his"), (SessionState::Foreground, Some(BindingStatus::Active)));
}

#[test]
fn a_login_under_an_old_device_id_told_again_leaves_the_token_with_the_new_one() {
    for seconds in [10, 0] {
        let mut stored = devices();
        apply(&mut stored, &login("alice", "old-id", 0, "t"));
        apply(&mut stored, &login("alice", "new-id", seconds, "t"));
        let mut again = later(&stored, 300);
        apply(&mut again, &login("alice", "old-id", 0, "t"));
        assert_eq!(again.changed().count(), 0);
        assert_eq!(bound(&again, "alice", "new-id").1, BindingStatus::Active);
        assert_eq!(bound(&again, "alice", "old-id").1, BindingStatus::Superseded);
    }
}

#[test]
fn a_login_told_late_brings_the_newer_report_that_waits_to_life() {
    let mut devices = devices();
    apply(&mut devices, &report("alice", "phone", 8, "t2"));
    apply(&mut devices, &login("alice", "phone", 5, "t1"));
    assert_eq!(bound(&devices, "alice", "phone"), ("t2".to_owned(), BindingStatus::Active, at(8)));
    apply(&mut devices, &event("alice", "phone", EventType::Logout, 9));
    apply(&mut devices, &report("alice", "phone", 9, "t3"));
    apply(&mut devices, &login("alice", "phone", 10, "t4"));
    assert_eq!(bound(&devices, "alice", "phone"), ("t4".to_owned(), BindingStatus::Active, at(10)));
}

#[test]
fn the_end_of_a_session_that_is_told_before_its_login_counts() {
    use SessionState::{Kicked, LoggedOut};
    for (platform, kind, expected) in [
        (Platform::Android, EventType::Logout, LoggedOut),
        (Platform::Android, EventType::Kicked, Kicked),
        (Platform::Web, EventType::Logout, LoggedOut),
        (Platform::Web, EventType::Disconnect, LoggedOut),
    ] {
        let on = |event: Event| Event { platform, ..event };
        let mut devices = devices();
        assert_eq!(apply(&mut devices, &on(event("alice", "d", kind, 3))), Applied::Applied, "{kind:?}");
        assert_eq!(apply(&mut devices, &on(login("alice", "d", 1, "t"))), Applied::Stale, "{kind:?}");
        assert_eq!(state(&devices, "alice", "d"), (expected, None));
        assert_eq!(apply(&mut devices, &on(login("alice", "d", 4, "t"))), Applied::Applied);
        assert_eq!(state(&devices, "alice", "d").0, SessionState::Foreground);
    }
    let mut devices = devices();
    let kick = Event { kicked_devices: vec!["other".to_owned()], ..event("alice", "phone", EventType::Kicked, 3) };
    assert_eq!(apply(&mut devices, &kick), Applied::Refused(Refusal::UnknownDevice));
    assert_eq!(devices.changed().count(), 0, "a list of names makes no devices");
}

#[test]
fn a_device_of_which_only_an_end_was_heard_is_forgotten_when_older_logins_are_refused() {
    let mut devices = devices();
    apply(&mut devices, &event("alice", "phone", EventType::Logout, 0));
    let week = MAX_AGE.num_seconds();
    assert_eq!(later(&devices, week).deleted().count(), 0);
    let mut forgotten = later(&devices, week + 1);
    assert_eq!(forgotten.deleted().count(), 1);
    apply(&mut forgotten, &login("alice", "phone", week, "t"));
    assert_eq!((forgotten.deleted().count(), forgotten.changed().count()), (0, 1));
}

#[test]
fn a_row_made_for_a_login_that_does_not_count_is_deleted_again() {
    let mut stored = devices();
    apply(&mut stored, &login("bob", "phone", 20, "t"));
    let made = Device::unknown("alice", "phone", Platform::Android);
    let mut devices = Devices::new([stored.get("bob", "phone").unwrap().clone(), made], at(300), &SETTINGS);
    assert_eq!(apply(&mut devices, &login("alice", "phone", 10, "t")), Applied::Stale);
    assert_eq!((devices.deleted().count(), devices.changed().count()), (1, 0));
}

#[test]
fn a_login_told_after_its_successor_on_the_phone_has_left_changes_nothing() {
    let mut devices = devices();
    apply(&mut devices, &login("bob", "phone", 20, "t"));
    apply(&mut devices, &event("bob", "phone", EventType::Logout, 30));
    assert_eq!(apply(&mut devices, &login("alice", "phone", 10, "t")), Applied::Stale);
    assert!(devices.get("alice", "phone").is_none());
    assert_eq!(apply(&mut devices, &login("alice", "phone", 25, "t")), Applied::Applied, "the phone was hers again");
}

#[test]
fn a_login_and_a_logout_begin_the_unread_count_anew() {
    let unread = |devices: &Devices<'_>| devices.get("alice", "phone").unwrap().unread;
    let told = |kind, seconds, unread| Event { unread, ..event("alice", "phone", kind, seconds) };
    let mut devices = devices();
    apply(&mut devices, &login("alice", "phone", 0, "t"));
    for end in [EventType::Disconnect, EventType::Logout, EventType::Kicked] {
        apply(&mut devices, &told(EventType::Login, 0, None));
        apply(&mut devices, &told(EventType::Background, 1, Some(5)));
        apply(&mut devices, &told(end, 2, None));
        assert_eq!(unread(&devices), (end == EventType::Disconnect).then_some(5), "{end:?}");
        apply(&mut devices, &told(EventType::Login, 3, None));
        assert_eq!(unread(&devices), None, "{end:?}");
        devices = self::devices();
    }
    apply(&mut devices, &told(EventType::Login, 0, Some(2)));
    assert_eq!(unread(&devices), Some(2));
    apply(&mut devices, &told(EventType::Read, 1, Some(1)));
    apply(&mut devices, &told(EventType::Login, 0, Some(2)));
    assert_eq!(unread(&devices), Some(1), "told again, it changes nothing");
}

#[test]
fn what_is_made_anew_and_deleted_within_a_batch_is_deleted() {
    let mut stored = devices();
    apply(&mut stored, &login("alice", "phone", 0, "t"));
    let mut reported = devices();
    reported.report_token("alice", "phone", Platform::Android, &token("t"));
    for mut devices in [later(&stored, 300), later(&reported, 2_000)] {
        apply(&mut devices, &event("alice", "", EventType::UserDeleted, 1));
        apply(&mut devices, &login("alice", "phone", 2, "t"));
        apply(&mut devices, &event("alice", "", EventType::UserDeleted, 3));
        assert!(devices.get("alice", "phone").is_none());
        assert_eq!((devices.deleted().count(), devices.changed().count()), (1, 0));
    }
}

#[test]
fn a_reconnect_after_a_session_that_nobody_ended_is_a_login() {
    let week = 7 * 86_400;
    let mut devices = Devices::new([], at(300), &SINGLE);
    apply(&mut devices, &login("alice", "phone", 0, "t"));
    apply(&mut devices, &event("alice", "phone", EventType::Disconnect, 1));
    let mut expired = later(&devices, 2 + week);
    let web = |kind, seconds| Event { platform: Platform::Web, ..event("alice", "web", kind, seconds) };
    apply(&mut expired, &web(EventType::Login, week - 5));
    assert_eq!(apply(&mut expired, &event("alice", "phone", EventType::Reconnect, week)), Applied::Applied);
    assert_eq!(state(&expired, "alice", "phone"), (SessionState::Foreground, Some(BindingStatus::Active)));
    assert_eq!(state(&expired, "alice", "web").0, SessionState::Kicked, "it takes its place as a login does");
    assert_eq!(expired.get("alice", "phone").unwrap().login_at, Some(at(week)));

    let mut devices = self::devices();
    assert_eq!(apply(&mut devices, &web(EventType::Reconnect, 0)), Applied::Refused(Refusal::UnknownDevice));
    for end in [EventType::Disconnect, EventType::Logout] {
        apply(&mut devices, &web(EventType::Login, 0));
        apply(&mut devices, &web(end, 1));
        assert_eq!(apply(&mut devices, &web(EventType::Reconnect, 0)), Applied::Stale);
        assert_eq!(apply(&mut devices, &web(EventType::Reconnect, 2)), Applied::Applied, "{end:?}");
        assert_eq!(state(&devices, "alice", "web").0, SessionState::Foreground);
        devices = self::devices();
    }
    apply(&mut devices, &web(EventType::Login, 0));
    apply(&mut devices, &web(EventType::Kicked, 1));
    assert_eq!(apply(&mut devices, &web(EventType::Reconnect, 2)), Applied::Refused(Refusal::NotLoggedIn));
}

#[test]
fn a_heartbeat_of_a_killed_session_leaves_its_unread_count() {
    let mut devices = devices();
    apply(&mut devices, &login("alice", "phone", 0, "t"));
    apply(&mut devices, &Event { unread: Some(4), ..event("alice", "phone", EventType::Background, 1) });
    apply(&mut devices, &event("alice", "phone", EventType::Disconnect, 2));
    let mut back = later(&devices, 300);
    apply(&mut back, &event("alice", "phone", EventType::Heartbeat, 10));
    assert_eq!(state(&back, "alice", "phone").0, SessionState::Background);
    assert_eq!((back.get("alice", "phone").unwrap().unread, back.recounted().count()), (Some(4), 0));
}

#[test]
fn a_token_reported_after_its_user_was_deleted_waits_for_the_new_account() {
    let mut devices = devices();
    apply(&mut devices, &login("alice", "phone", 0, "t"));
    apply(&mut devices, &report("alice", "phone", 10, "t2"));
    apply(&mut devices, &report("alice", "tablet", 10, "t3"));
    assert_eq!(apply(&mut devices, &event("alice", "", EventType::UserDeleted, 5)), Applied::Stale);
    for device in ["phone", "tablet"] {
        assert_eq!(state(&devices, "alice", device), (SessionState::LoggedOut, Some(BindingStatus::Pending)));
    }
    assert!(devices.revoked().any(|key| key.1 == "phone"));
}

#[test]
fn a_disconnect_that_is_told_before_its_login_counts() {
    for (platform, expected) in [(Platform::Android, SessionState::Killed), (Platform::Web, SessionState::LoggedOut)] {
        let on = |event: Event| Event { platform, ..event };
        let mut devices = devices();
        apply(&mut devices, &on(login("alice", "d", 0, "t")));
        apply(&mut devices, &on(event("alice", "d", EventType::Logout, 1)));
        let lost = apply(&mut devices, &on(event("alice", "d", EventType::Disconnect, 5)));
        assert_eq!(lost, Applied::Refused(Refusal::NotLoggedIn));
        let mut devices = later(&devices, 300);
        assert_eq!(apply(&mut devices, &on(login("alice", "d", 3, "t"))), Applied::Applied);
        assert_eq!((state(&devices, "alice", "d").0, devices.get("alice", "d").unwrap().event_time), (expected, at(5)));
        assert_eq!(apply(&mut devices, &on(login("alice", "d", 7, "t"))), Applied::Applied);
        assert_eq!(state(&devices, "alice", "d"), (SessionState::Foreground, Some(BindingStatus::Active)));
    }
    let mut unknown = devices();
    let lost = apply(&mut unknown, &event("alice", "phone", EventType::Disconnect, 5));
    assert_eq!(lost, Applied::Refused(Refusal::UnknownDevice));
    let mut unknown = later(&unknown, 300);
    apply(&mut unknown, &login("alice", "phone", 3, "t"));
    assert_eq!(state(&unknown, "alice", "phone"), (SessionState::Killed, Some(BindingStatus::Active)));
}

#[test]
fn a_disconnect_of_a_login_that_is_over_says_nothing_of_the_next() {
    let with_seq = |event: Event, seq| Event { login_seq: Some(seq), ..event };
    for (seq, expected) in [(1, SessionState::Foreground), (2, SessionState::Killed)] {
        let mut devices = devices();
        apply(&mut devices, &with_seq(login("alice", "phone", 0, "t"), 1));
        apply(&mut devices, &with_seq(event("alice", "phone", EventType::Logout, 1), 1));
        apply(&mut devices, &with_seq(event("alice", "phone", EventType::Disconnect, 5), seq));
        apply(&mut devices, &with_seq(login("alice", "phone", 3, "t"), 2));
        assert_eq!(state(&devices, "alice", "phone").0, expected, "number {seq}");
    }
}

#[test]
fn the_newest_unread_count_holds_whatever_was_told_first() {
    let unread = |devices: &Devices<'_>, device| devices.get("alice", device).unwrap().unread;
    let read = |seconds, unread| Event { unread: Some(unread), ..event("alice", "desk", EventType::Read, seconds) };
    let mut devices = devices();
    apply(&mut devices, &login("alice", "phone", 0, "t"));
    apply(&mut devices, &login("alice", "desk", 0, "t2"));
    apply(&mut devices, &event("alice", "desk", EventType::Logout, 20));
    assert_eq!(apply(&mut devices, &read(21, 9)), Applied::Refused(Refusal::NotLoggedIn));
    assert_eq!(apply(&mut devices, &read(10, 3)), Applied::Applied, "it was read before");
    assert_eq!(apply(&mut devices, &read(8, 5)), Applied::Applied);
    let background = Event { unread: Some(7), ..event("alice", "phone", EventType::Background, 9) };
    assert_eq!(apply(&mut devices, &background), Applied::Applied);
    assert_eq!(unread(&devices, "phone"), Some(3));
    let mut again = later(&devices, 300);
    apply(&mut again, &read(10, 3));
    assert_eq!((again.changed().count(), again.recounted().count()), (0, 0));
    apply(&mut devices, &event("alice", "phone", EventType::Foreground, 11));
    assert_eq!(unread(&devices, "phone"), Some(0));
}
