//! What is told in one sequence, made from its seed before anything runs: so it can be repeated and shortened.

use std::fmt;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rouse::domain::session::{BindingStatus, EventType, Platform};

pub(super) const USERS: usize = 3;
pub(super) const DEVICES: usize = 3;
pub(super) const TOKENS: usize = 3;
/// Two vendors may give out the same text.
pub(super) const TEXTS: [&str; TOKENS] = ["one", "two", "one"];
/// A sequence has at least so many events.
const EVENTS: usize = 40;
/// Seconds from one moment to the next; what is told of one moment has the same time.
const MOMENT: i64 = 10;
/// What a server takes as now lies so long after the moment: later than its events, earlier than those that are told ahead.
pub(super) const TAKEN_AFTER: i64 = 2;
const AHEAD: i64 = 5;
/// A vendor's verdict is about a call that began after the reports of its moment.
const TRIED_AFTER: i64 = 7;

/// What kind of thing is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Event(EventType),
    /// The call for bindings.
    Report,
    Unbind,
    /// What a vendor said of a token.
    Verdict(BindingStatus),
}

/// One thing that is told. Users, devices and tokens are numbers; times are seconds since the sequence began.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub(super) what: What,
    pub(super) user: usize,
    pub(super) device: usize,
    pub(super) platform: Platform,
    pub(super) at: i64,
    pub(super) login_seq: Option<i64>,
    pub(super) token: Option<usize>,
    pub(super) kicked_devices: Vec<usize>,
    pub(super) kicked_platforms: Vec<Platform>,
}

impl Told {
    /// Its device becomes known by it.
    pub(super) fn makes_known(&self) -> bool {
        match self.what {
            What::Event(EventType::Kicked) => self.kicked_devices.is_empty() && self.kicked_platforms.is_empty(),
            What::Event(kind) => {
                use EventType::{Disconnect, Login, Logout, TokenReport};
                matches!(kind, Login | Logout | Disconnect | TokenReport)
            }
            What::Report => true,
            What::Unbind | What::Verdict(_) => false,
        }
    }
}

/// Several things told to one instance at once.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) instance: usize,
    pub(super) told: Vec<Told>,
}

/// Calls that are made at the same time.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) now: i64,
    pub(super) calls: Vec<Call>,
}

/// One sequence.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
}

impl Plan {
    /// The sequence of this seed.
    pub(super) fn draw(seed: u64) -> Self {
        let mut drawing = Drawing::new(StdRng::seed_from_u64(seed));
        let (mut steps, mut events) = (Vec::new(), 0);
        while events < EVENTS {
            let step = drawing.step();
            events += step.calls.iter().map(|call| call.told.len()).sum::<usize>();
            steps.push(step);
        }
        Self { steps }
    }

    pub(super) fn events(&self) -> usize {
        self.steps.iter().flat_map(|step| &step.calls).map(|call| call.told.len()).sum()
    }
}

/// The dice, and the little world they are thrown for.
struct Drawing {
    dice: StdRng,
    users: usize,
    devices: usize,
    tokens: usize,
    platforms: [Platform; DEVICES],
    /// Whether the chat server numbers logins, and how many there were on each device.
    numbers: bool,
    logins: [[i64; DEVICES]; USERS],
    /// Who logged in last, and where.
    last_login: (usize, usize),
    now: i64,
    last_at: i64,
}

impl Drawing {
    fn new(mut dice: StdRng) -> Self {
        let platforms = [(); DEVICES].map(|()| Self::platform(&mut dice));
        let (users, devices, tokens) =
            (dice.random_range(2..=USERS), dice.random_range(2..=DEVICES), dice.random_range(2..=TOKENS));
        let numbers = dice.random_bool(0.5);
        Self {
            dice,
            users,
            devices,
            tokens,
            platforms,
            numbers,
            logins: [[0; DEVICES]; USERS],
            last_login: (0, 0),
            now: 5 * MOMENT,
            last_at: 5 * MOMENT,
        }
    }

    fn platform(dice: &mut StdRng) -> Platform {
        const DRAWN: [Platform; 8] = [
            Platform::Android,
            Platform::Android,
            Platform::Android,
            Platform::Ios,
            Platform::Ios,
            Platform::Ipados,
            Platform::Web,
            Platform::Mac,
        ];
        DRAWN[dice.random_range(0..DRAWN.len())]
    }

    fn step(&mut self) -> Step {
        self.now += MOMENT * [0, 1, 1, 2][self.dice.random_range(0..4)];
        let calls = [1, 1, 2, 2, 2, 3][self.dice.random_range(0..6)];
        Step { now: self.now, calls: (0..calls).map(|_| self.call()).collect() }
    }

    fn call(&mut self) -> Call {
        let instance = self.dice.random_range(0..2);
        if self.dice.random_bool(0.04) {
            return Call { instance, told: vec![self.verdict()] };
        }
        let told = [1, 1, 1, 2, 2, 3][self.dice.random_range(0..6)];
        Call { instance, told: (0..told).map(|_| self.told()).collect() }
    }

    fn verdict(&mut self) -> Told {
        let status = if self.dice.random_bool(0.5) { BindingStatus::Invalid } else { BindingStatus::Muted };
        let at = self.now + TRIED_AFTER - MOMENT * self.dice.random_range(0..2);
        let token = Some(self.token());
        Told { at, token, ..self.anything(What::Verdict(status)) }
    }

    fn told(&mut self) -> Told {
        use EventType as E;
        let what = match self.dice.random_range(0..100) {
            0..27 => What::Event(E::Login),
            27..42 => What::Event(E::Disconnect),
            42..50 => What::Event(E::Background),
            50..55 => What::Event(E::Foreground),
            55..58 => What::Event(E::Reconnect),
            58..66 => What::Event(E::Logout),
            66..76 => What::Event(E::Kicked),
            76..80 => What::Event(E::Heartbeat),
            80..82 => What::Event(E::Read),
            82..89 => What::Event(E::TokenReport),
            89..96 => What::Report,
            96..98 => What::Unbind,
            _ => What::Event(E::UserDeleted),
        };
        let mut told = self.anything(what);
        match what {
            What::Event(E::Login) => {
                told.token = self.dice.random_bool(0.6).then(|| self.token_of(told.device));
                self.last_login = (told.user, told.device);
                let logins = &mut self.logins[told.user][told.device];
                *logins += 1;
                // Some are told late.
                let late = i64::from(self.dice.random_bool(0.15));
                told.login_seq = (self.numbers && self.dice.random_bool(0.7)).then_some(*logins - late);
            }
            What::Event(E::TokenReport) | What::Report => told.token = Some(self.token_of(told.device)),
            What::Event(E::Kicked) => match self.dice.random_range(0..3) {
                0 => told.kicked_devices = (0..self.devices).filter(|_| self.dice.random_bool(0.5)).collect(),
                1 => told.kicked_platforms = vec![self.platforms[self.dice.random_range(0..self.devices)]],
                _ => {}
            },
            _ => {}
        }
        if told.login_seq.is_none() && self.numbers && self.dice.random_bool(0.2) {
            told.login_seq = Some(self.logins[told.user][told.device]);
        }
        told
    }

    /// Of this kind, about any user and device, of any time.
    fn anything(&mut self, what: What) -> Told {
        let anyone = (self.dice.random_range(0..self.users), self.dice.random_range(0..self.devices));
        // Else hardly any session would live long enough to be killed.
        let is_aimed = what != What::Event(EventType::Login) && self.dice.random_bool(0.5);
        let (user, device) = if is_aimed { self.last_login } else { anyone };
        let at = match self.dice.random_range(0..100) {
            0..70 => self.now,
            70..80 => self.last_at,
            80..95 => self.now - MOMENT * self.dice.random_range(1..5),
            _ => self.now + AHEAD,
        };
        self.last_at = at;
        // Rarely an emulator, or a device id that was given out again.
        let is_odd = self.dice.random_bool(0.02);
        let platform = if is_odd { Self::platform(&mut self.dice) } else { self.platforms[device] };
        Told {
            what,
            user,
            device,
            platform,
            at,
            login_seq: None,
            token: None,
            kicked_devices: Vec::new(),
            kicked_platforms: Vec::new(),
        }
    }

    fn token(&mut self) -> usize {
        self.dice.random_range(0..self.tokens)
    }

    /// Mostly a device has its own.
    fn token_of(&mut self, device: usize) -> usize {
        if self.dice.random_bool(0.6) { device % self.tokens } else { self.token() }
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, device, at, .. } = self;
        match self.what {
            What::Event(kind) => write!(f, "{kind:?} u{user}/d{device} at {at}")?,
            What::Verdict(status) => write!(f, "Verdict {status:?} u{user}/d{device} tried at {at}")?,
            what => write!(f, "{what:?} u{user}/d{device}")?,
        }
        if let What::Event(EventType::Login) = self.what {
            write!(f, " on {:?}", self.platform)?;
        }
        if let Some(login_seq) = self.login_seq {
            write!(f, " seq {login_seq}")?;
        }
        if let Some(token) = self.token {
            write!(f, " token t{token}")?;
        }
        if !self.kicked_devices.is_empty() || !self.kicked_platforms.is_empty() {
            write!(f, " of devices {:?} platforms {:?}", self.kicked_devices, self.kicked_platforms)?;
        }
        Ok(())
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, step) in self.steps.iter().enumerate() {
            writeln!(f, "step {number}, now {}", step.now)?;
            for call in &step.calls {
                let told: Vec<String> = call.told.iter().map(ToString::to_string).collect();
                writeln!(f, "  to {}: {}", ["A", "B"][call.instance], told.join("; "))?;
            }
        }
        Ok(())
    }
}
