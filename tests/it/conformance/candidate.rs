//! What the cases need to know of a vendor.

use rouse::simulator::{Controls, Fault, Misbehaviour};
use serde_json::Value;

/// One vendor: its stand-in, an account that the stand-in knows, and how it says what.
pub(crate) trait Candidate: Sized {
    /// As in `vendor` of a certificate.
    const KIND: &'static str;
    const PLATFORM: &'static str = "android";
    /// The outcome of a dead token alone, and beside others that are accepted.
    const DEAD: [&'static str; 2] = ["token_gone", "token_gone"];
    /// Too many calls.
    const TOO_FAST: Says;
    /// Whether "too fast" is about the account: then the whole lane slows down.
    const TOO_FAST_SLOWS_THE_LANE: bool = true;
    /// The daily quota of a class is spent; `None`: the vendor never says so at a send.
    const QUOTA: Option<Says>;
    /// This message can never succeed.
    const REFUSED_MESSAGE: Says;
    /// A code that no document has.
    const UNKNOWN: Says = Says::Code("987654");
    /// Whether answers of success have a body that is read.
    const READS_ANSWERS: bool = true;
    /// How many calls it takes to send to this many devices.
    fn calls_for(devices: usize) -> usize;

    async fn start() -> Self;

    fn controls(&self) -> &Controls;

    /// What points the server at the stand-in.
    fn settings(&self) -> Vec<(&'static str, String)>;

    /// The certificate of the account.
    fn certificate(&self) -> Value;

    /// The same certificate's secret field with a wrong value.
    fn wrong_secret(&self) -> Value;

    /// A device token in the vendor's shape.
    fn token(number: usize) -> String;

    /// A token that the vendor reports as dead when it is sent to.
    fn kill(&self, token: &str) {
        self.controls().kill_token(token);
    }

    /// A device whose notifications are off, where the vendor says so when it is sent to; else answers false.
    fn mute(&self, _token: &str) -> bool {
        false
    }

    /// Options that put a message into another class of the quota.
    fn other_class() -> Value {
        Value::Null
    }

    /// Whether the stand-in gave out, or took, this message id.
    fn has_message_id(&self, id: &str) -> bool;

    /// Ends all access tokens given out so far. `None`: the vendor has none.
    fn expire_access_tokens(&self) -> Option<()> {
        None
    }

    /// Makes all access tokens given out so far unknown.
    fn revoke_access_tokens(&self) {}

    /// Access tokens given out since the start.
    fn access_tokens_granted(&self) -> u64 {
        0
    }

    /// The paths of sends, where the stand-in has others too.
    fn is_send(path: &str) -> bool {
        !path.is_empty()
    }

    /// Whether a field of the body is another one at each call.
    fn is_of_the_moment(_path: &str, _field: &str) -> bool {
        false
    }

    /// Requests to the paths of sends.
    fn sends(&self) -> usize {
        self.controls().calls().iter().filter(|call| Self::is_send(&call.path)).count()
    }
}

/// The methods of a candidate about access tokens, by the stand-in in its first field.
macro_rules! access_tokens {
    () => {
        fn expire_access_tokens(&self) -> Option<()> {
            self.0.expire_access_tokens();
            Some(())
        }

        fn revoke_access_tokens(&self) {
            self.0.revoke_access_tokens();
        }

        fn access_tokens_granted(&self) -> u64 {
            self.0.access_tokens_granted()
        }
    };
}
pub(crate) use access_tokens;

/// How a vendor says something.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Says {
    /// In its own envelope.
    Code(&'static str),
    Status(u16),
}

impl Says {
    pub(crate) fn misbehaviour(self) -> Misbehaviour {
        match self {
            Self::Code(code) => Misbehaviour::Code { code: code.into(), reason: None },
            Self::Status(status) => Misbehaviour::Status { status, body: String::new(), retry_after: None },
        }
    }

    pub(crate) fn once(self) -> Fault {
        Fault::once(self.misbehaviour())
    }

    /// As the trace shows it.
    pub(crate) fn shown(self) -> String {
        match self {
            Self::Code(code) => code.rsplit(' ').next().unwrap().to_owned(),
            Self::Status(status) => format!("HTTP {status}"),
        }
    }
}
