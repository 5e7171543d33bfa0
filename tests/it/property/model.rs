//! The rules of sessions and bindings once more, as plainly as they can be said: one small table, one thing told at a time.
//! Nothing here is the server's own code but the names of states.

use std::collections::HashSet;

use rouse::domain::kick::KickPolicy;
use rouse::domain::session::{BindingStatus, EventType, Platform, SessionState};

use super::plan::{DEVICES, TAKEN_AFTER, TEXTS, Told, USERS, What};

/// What a server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Answer {
    Applied,
    Stale,
    Refused,
    Reported {
        pending: bool,
    },
    Unbound(bool),
    /// A verdict is not answered.
    Heard,
}

/// A device's token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Held {
    token: usize,
    status: BindingStatus,
    reported: i64,
}

/// What is known of one device of one user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Device {
    platform: Platform,
    state: SessionState,
    /// Of the last event that counted; before everything else when there was none.
    at: i64,
    login_seq: Option<i64>,
    login_at: i64,
    /// The newest disconnect that was told while nobody was logged in.
    lost_at: i64,
    held: Option<Held>,
}

/// What can be seen of a device from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) state: SessionState,
    pub(super) binding: Option<(usize, BindingStatus)>,
}

/// All devices, by user and device.
pub(super) type View = [[Option<Seen>; DEVICES]; USERS];

/// A rule that the model forgets, to prove that it would be noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Forgotten {
    Kicks,
    TokensMove,
    NewerReports,
    LateLogouts,
}

/// Everything that is known of the little world of one sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Model {
    devices: [[Option<Device>; DEVICES]; USERS],
    enforced: Option<Policy>,
    forgotten: Option<Forgotten>,
}

/// How many sessions a user may have: one, or one of each sort of device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Policy {
    Single,
    Triple,
}

impl Policy {
    pub(super) const fn kick(self) -> KickPolicy {
        match self {
            Self::Single => KickPolicy::Single,
            Self::Triple => KickPolicy::Triple,
        }
    }

    /// Of two live sessions of a user only one may stay.
    pub(super) fn excludes(self, one: Platform, other: Platform) -> bool {
        let sort = |platform| match platform {
            Platform::Ios | Platform::Ipados | Platform::Android | Platform::Harmony => 0,
            Platform::Windows | Platform::Mac | Platform::Linux => 1,
            Platform::Web => 2,
        };
        self == Self::Single || sort(one) == sort(other)
    }
}

pub(super) fn is_live(state: SessionState) -> bool {
    matches!(state, SessionState::Foreground | SessionState::Background | SessionState::Killed)
}

pub(super) fn holds(status: BindingStatus) -> bool {
    matches!(status, BindingStatus::Active | BindingStatus::Muted)
}

/// The push rule: logged in, killed, and its token is its own and good.
pub(super) fn is_pushed_to(seen: Seen) -> bool {
    seen.state == SessionState::Killed && seen.binding.is_some_and(|(_, status)| status == BindingStatus::Active)
}

impl Device {
    fn new(platform: Platform) -> Self {
        let state = SessionState::LoggedOut;
        Self { platform, state, at: i64::MIN, login_seq: None, login_at: i64::MIN, lost_at: i64::MIN, held: None }
    }

    /// A newer thing was told of it before: the login sequence decides, else the time.
    fn is_past(&self, at: i64, login_seq: Option<i64>) -> bool {
        match (login_seq, self.login_seq) {
            (Some(told), Some(known)) if told != known => told < known,
            _ => at < self.at,
        }
    }

    fn seen(self) -> Seen {
        Seen { state: self.state, binding: self.held.map(|held| (held.token, held.status)) }
    }

    /// The token that a login gives it, and when that was reported: the login's own or the one that waits, the newer of
    /// them. None where a session that goes on holds a newer one, or this same login was heard before.
    fn brought(&self, told: &Told, taken_at: i64) -> Option<(usize, i64)> {
        let at = told.at.min(taken_at);
        let own = told.token.map(|token| (token, at));
        match self.held {
            Some(held) if held.status == BindingStatus::Pending && (own.is_none() || held.reported > at) => {
                Some((held.token, held.reported.max(at)))
            }
            Some(held) if is_live(self.state) && held.reported > at => None,
            Some(held) if is_live(self.state) && self.login_at == told.at && held.reported == at => None,
            _ => own,
        }
    }

    fn serves(&self, token: usize) -> bool {
        self.held.is_some_and(|held| held.token == token && holds(held.status))
    }

    /// The session is over at `at`; a token that was reported later waits for the next login.
    fn end(&mut self, state: SessionState, at: i64) {
        (self.state, self.at) = (state, at);
        if let Some(held) = &mut self.held
            && matches!(held.status, BindingStatus::Active | BindingStatus::Muted | BindingStatus::Pending)
        {
            held.status = if held.reported > at { BindingStatus::Pending } else { BindingStatus::Detached };
        }
    }
}

impl Model {
    pub(super) fn new(enforced: Option<Policy>, forgotten: Option<Forgotten>) -> Self {
        Self { devices: [[None; DEVICES]; USERS], enforced, forgotten }
    }

    /// What can be seen of it.
    pub(super) fn view(&self) -> View {
        self.devices.map(|of_user| of_user.map(|device| device.map(Device::seen)))
    }

    /// Worlds that look like this, each device as it is in one of these.
    pub(super) fn blend(outcomes: &HashSet<Self>, view: &View) -> HashSet<Self> {
        let Some(any) = outcomes.iter().next() else { return HashSet::new() };
        let mut blends = HashSet::from([*any]);
        for (user, device) in (0..USERS).flat_map(|user| (0..DEVICES).map(move |device| (user, device))) {
            let known: HashSet<Option<Device>> = outcomes.iter().map(|world| world.devices[user][device]).collect();
            let fitting = known.into_iter().filter(|known| known.map(Device::seen) == view[user][device]);
            let with = |known| {
                blends.iter().map(move |world| {
                    let mut world = *world;
                    world.devices[user][device] = known;
                    world
                })
            };
            blends = fitting.flat_map(with).collect();
        }
        blends
    }

    /// One thing is told at a moment.
    pub(super) fn hear(&mut self, told: &Told, now: i64) -> Answer {
        use EventType as E;
        let taken_at = now + TAKEN_AFTER;
        match told.what {
            What::Event(E::Login) => self.login(told, taken_at),
            What::Event(E::Kicked) if !told.kicked_devices.is_empty() || !told.kicked_platforms.is_empty() => {
                self.kick(told)
            }
            What::Event(E::TokenReport) => self.token_report(told, taken_at),
            // What was read stays read, also where the session is over since.
            What::Event(E::Read) => match self.devices[told.user][told.device] {
                Some(this) if this.at > i64::MIN && (is_live(this.state) || told.at < this.at) => Answer::Applied,
                _ => Answer::Refused,
            },
            What::Event(E::Heartbeat) => self.sign_of_life(told, |device| {
                // The link is up; where the app is nobody said.
                if device.state == SessionState::Killed {
                    device.state = SessionState::Background;
                    device.at = told.at;
                    device.login_seq = told.login_seq.max(device.login_seq);
                }
            }),
            What::Event(E::UserDeleted) => self.forget(told),
            What::Event(E::Reconnect) if self.lost_its_link(told) => self.login(told, taken_at),
            What::Event(kind) => self.happen(told, told.device, kind, told.login_seq),
            What::Report => {
                self.report(told, taken_at);
                let device = self.devices[told.user][told.device];
                Answer::Reported { pending: !device.is_some_and(|device| is_live(device.state)) }
            }
            What::Unbind => Answer::Unbound(self.unbind(told)),
            What::Verdict(status) => {
                if let Some(held) = self.held(told)
                    && holds(held.status)
                    && told.token.is_some_and(|token| TEXTS[token] == TEXTS[held.token])
                    && held.reported <= told.at
                {
                    held.status = status;
                }
                Answer::Heard
            }
        }
    }

    fn held(&mut self, told: &Told) -> Option<&mut Held> {
        self.devices[told.user][told.device].as_mut()?.held.as_mut()
    }

    /// All devices but this one.
    fn others(&mut self, user: usize, device: usize) -> impl Iterator<Item = (usize, usize, &mut Device)> {
        self.devices.iter_mut().enumerate().flat_map(move |(u, of_user)| {
            let known = of_user.iter_mut().enumerate().filter_map(move |(d, other)| Some((u, d, other.as_mut()?)));
            known.filter(move |(u, d, _)| (*u, *d) != (user, device))
        })
    }

    fn login(&mut self, told: &Told, taken_at: i64) -> Answer {
        let this = self.devices[told.user][told.device].unwrap_or(Device::new(told.platform));
        if this.is_past(told.at, told.login_seq) {
            return Answer::Stale;
        }
        let brought = this.brought(told, taken_at);
        // Another user came after on this phone, whether gone again or not, or is there with this token.
        let is_history = self.others(told.user, told.device).any(|(user, device, other)| {
            let is_same_phone = device == told.device || brought.is_some_and(|(token, _)| other.serves(token));
            let is_later = is_live(other.state) && other.at > told.at && is_same_phone;
            user != told.user && (is_later || (device == told.device && other.login_at > told.at))
        });
        if is_history {
            return Answer::Stale;
        }
        for (user, device, other) in self.others(told.user, told.device) {
            if user != told.user && device == told.device && is_live(other.state) {
                other.end(SessionState::LoggedOut, told.at);
            }
        }
        self.devices[told.user][told.device] = Some(Device {
            platform: told.platform,
            state: SessionState::Foreground,
            at: told.at,
            login_seq: told.login_seq.or(this.login_seq),
            login_at: told.at,
            lost_at: i64::MIN,
            held: this.held,
        });
        if let Some((token, reported)) = brought {
            for (user, device) in self.give(told.user, told.device, token, reported) {
                // Whoever had the token, and is another user, is not on this phone any more.
                if let Some(other) = self.devices[user][device].as_mut().filter(|other| is_live(other.state))
                    && user != told.user
                {
                    (other.state, other.at) = (SessionState::LoggedOut, other.at.max(told.at));
                }
            }
        }
        self.make_room(told);
        // Its link is lost again: that was told before.
        if this.lost_at > told.at && self.devices[told.user][told.device].is_some_and(|this| is_live(this.state)) {
            self.happen(&Told { at: this.lost_at, ..told.clone() }, told.device, EventType::Disconnect, None);
        }
        Answer::Applied
    }

    /// A live token serves one device: the one that reported it last. Answers who lost it.
    fn give(&mut self, user: usize, device: usize, token: usize, reported: i64) -> Vec<(usize, usize)> {
        let mut losers = Vec::new();
        let status = if self.is_held_later(user, device, token, reported) {
            BindingStatus::Superseded
        } else {
            BindingStatus::Active
        };
        if status == BindingStatus::Active && self.forgotten != Some(Forgotten::TokensMove) {
            for (user, device, other) in self.others(user, device).filter(|(_, _, other)| other.serves(token)) {
                other.held = other.held.map(|held| Held { status: BindingStatus::Superseded, ..held });
                losers.push((user, device));
            }
        }
        if let Some(this) = &mut self.devices[user][device] {
            // An unchanged one is not written again.
            let is_unchanged =
                this.held.is_some_and(|held| held.token == token && held.status == BindingStatus::Active);
            if !is_unchanged {
                let reported = this.held.map_or(reported, |held| held.reported.max(reported));
                this.held = Some(Held { token, status, reported });
            }
        }
        losers
    }

    /// Another device reported this token after that.
    fn is_held_later(&mut self, user: usize, device: usize, token: usize, reported: i64) -> bool {
        !matches!(self.forgotten, Some(Forgotten::TokensMove | Forgotten::NewerReports))
            && self
                .others(user, device)
                .any(|(_, _, other)| other.serves(token) && other.held.is_some_and(|held| held.reported > reported))
    }

    /// The policy: who logged in last stays; of two at the same time, who was heard of last.
    fn make_room(&mut self, told: &Told) {
        let Some(policy) = self.enforced.filter(|_| self.forgotten != Some(Forgotten::Kicks)) else { return };
        let mut is_late = false;
        for (user, _, other) in self.others(told.user, told.device) {
            if user == told.user && is_live(other.state) && policy.excludes(other.platform, told.platform) {
                if other.login_at > told.at {
                    is_late = true;
                } else {
                    other.end(SessionState::Kicked, other.at.max(told.at));
                }
            }
        }
        if let Some(this) = self.devices[told.user][told.device].as_mut().filter(|_| is_late) {
            this.end(SessionState::Kicked, told.at);
        }
    }

    fn kick(&mut self, told: &Told) -> Answer {
        let mut best = Answer::Refused;
        for device in (0..DEVICES).filter(|device| *device != told.device) {
            let Some(known) = self.devices[told.user][device] else { continue };
            let is_of_platform = told.kicked_platforms.contains(&known.platform) && is_live(known.state);
            if told.kicked_devices.contains(&device) || is_of_platform {
                // The number of the login is the staying device's.
                let answer = self.happen(told, device, EventType::Kicked, None);
                if answer == Answer::Applied || best == Answer::Refused {
                    best = answer;
                }
            }
        }
        best
    }

    /// A desktop or web session that lost its link is logged out, though nobody left.
    fn lost_its_link(&self, told: &Told) -> bool {
        self.devices[told.user][told.device].is_some_and(|this| {
            let is_desk = !Policy::Triple.excludes(this.platform, Platform::Android);
            is_desk && this.state == SessionState::LoggedOut && this.at > i64::MIN
        })
    }

    /// Everything that needs a session, and its ends.
    fn happen(&mut self, told: &Told, device: usize, kind: EventType, login_seq: Option<i64>) -> Answer {
        let (forgotten, at) = (self.forgotten, told.at);
        let known = self.devices[told.user][device];
        let platform = known.map_or(told.platform, |known| known.platform);
        let is_phone = Policy::Triple.excludes(platform, Platform::Android);
        let is_unheard_of = known.is_none_or(|known| known.at == i64::MIN);
        let is_end = matches!(kind, EventType::Logout | EventType::Kicked)
            || (kind == EventType::Disconnect && !is_phone && is_unheard_of);
        // An end that is told first counts too: the login before it is over. Lists make nothing known.
        if known.is_none() && (device != told.device || !(is_end || kind == EventType::Disconnect)) {
            return Answer::Refused;
        }
        let this = self.devices[told.user][device].get_or_insert(Device::new(platform));
        if this.is_past(at, login_seq) && !(forgotten == Some(Forgotten::LateLogouts) && is_end) {
            return Answer::Stale;
        }
        if !is_live(this.state) && !is_end {
            let is_of_another = login_seq.zip(this.login_seq).is_none_or(|(told, known)| told > known);
            if kind == EventType::Disconnect && is_of_another {
                this.lost_at = this.lost_at.max(at);
            }
            return Answer::Refused;
        }
        this.login_seq = login_seq.max(this.login_seq);
        match kind {
            _ if is_unheard_of => {
                let is_kick = kind == EventType::Kicked;
                this.state = if is_kick { SessionState::Kicked } else { SessionState::LoggedOut };
                this.at = at;
            }
            // Who is out already stays out as he is.
            _ if !is_live(this.state) => this.at = at,
            EventType::Logout => this.end(SessionState::LoggedOut, at),
            EventType::Kicked if forgotten == Some(Forgotten::Kicks) => {}
            EventType::Kicked => this.end(SessionState::Kicked, at),
            EventType::Disconnect if !is_phone => this.end(SessionState::LoggedOut, at),
            EventType::Disconnect => (this.state, this.at) = (SessionState::Killed, at),
            EventType::Background => (this.state, this.at) = (SessionState::Background, at),
            _ => (this.state, this.at) = (SessionState::Foreground, at),
        }
        Answer::Applied
    }

    fn sign_of_life(&mut self, told: &Told, then: impl FnOnce(&mut Device)) -> Answer {
        match &mut self.devices[told.user][told.device] {
            Some(this) if this.is_past(told.at, told.login_seq) => Answer::Stale,
            Some(this) if is_live(this.state) => {
                then(this);
                Answer::Applied
            }
            _ => Answer::Refused,
        }
    }

    /// What came after belongs to a new account of the name.
    fn forget(&mut self, told: &Told) -> Answer {
        let mut answer = Answer::Applied;
        for device in &mut self.devices[told.user] {
            let Some(known) = device else { continue };
            let waits = |held: Held| holds(held.status) || held.status == BindingStatus::Pending;
            if known.at > told.at {
                answer = Answer::Stale;
            } else if known.held.is_some_and(|held| waits(held) && held.reported > told.at) {
                answer = Answer::Stale;
                if is_live(known.state) {
                    known.end(SessionState::LoggedOut, told.at);
                }
            } else {
                *device = None;
            }
        }
        answer
    }

    fn token_report(&mut self, told: &Told, taken_at: i64) -> Answer {
        let reported = told.at.min(taken_at);
        if let (Some(this), Some(token)) = (self.devices[told.user][told.device], told.token) {
            let is_newer_known = this.held.is_some_and(|held| held.reported > told.at);
            let is_over = !is_live(this.state) && this.at > told.at;
            let is_elsewhere = is_live(this.state) && self.is_held_later(told.user, told.device, token, reported);
            if is_newer_known || is_over || is_elsewhere {
                return Answer::Stale;
            }
            // Told again: what came of it since stays.
            if is_live(this.state) && this.held.is_some_and(|held| (held.token, held.reported) == (token, reported)) {
                return Answer::Applied;
            }
        }
        self.report(told, reported);
        Answer::Applied
    }

    /// Before a login it waits, and takes the token from nobody.
    fn report(&mut self, told: &Told, reported: i64) {
        let Some(token) = told.token else { return };
        let this = self.devices[told.user][told.device].get_or_insert(Device::new(told.platform));
        if is_live(this.state) {
            self.give(told.user, told.device, token, reported);
        } else {
            this.held = Some(Held { token, status: BindingStatus::Pending, reported });
        }
    }

    fn unbind(&mut self, told: &Told) -> bool {
        let Some(held) = self.held(told) else { return false };
        let is_there = holds(held.status) || held.status == BindingStatus::Pending;
        if is_there {
            held.status = BindingStatus::Detached;
        }
        is_there
    }
}
