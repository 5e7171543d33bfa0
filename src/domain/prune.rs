//! The prune breaker: a burst of "dead token" answers is more often a wrong region, environment or test mode than a
//! massacre among phones, so unbinding stops until the answers look normal again or an operator resumes.

use chrono::{DateTime, Utc};

/// Weights halve in this time, so that the breaker judges the recent past.
const HALF_LIFE_S: f64 = 600.0;
/// Open at this share of dead answers; closed again at half of it.
const DEAD_SHARE: f64 = 0.5;

/// Counts the verdicts on the tokens of one certificate, newer ones weighing more.
#[derive(Debug, Clone)]
pub struct PruneBreaker {
    min_dead: f64,
    dead: f64,
    alive: f64,
    updated_at: Option<DateTime<Utc>>,
    is_open: bool,
}

/// Whether a dead token may be unbound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Unbind,
    /// The breaker is open: the binding stays, the trace says so.
    Withheld,
}

impl PruneBreaker {
    /// Opens at no fewer than `min_dead` recent dead answers.
    pub fn new(min_dead: u32) -> Self {
        Self { min_dead: f64::from(min_dead), dead: 0.0, alive: 0.0, updated_at: None, is_open: false }
    }

    /// Takes the verdicts of one call, all at once, so that a whole batch of dead tokens opens it before any is unbound.
    /// `malformed` answers (a token of another environment looks so) unbind only while the certificate has successes.
    pub fn judge(&mut self, dead: u32, alive: u32, now: DateTime<Utc>) -> Verdict {
        self.decay(now);
        self.dead += f64::from(dead);
        self.alive += f64::from(alive);
        let share = self.dead / (self.dead + self.alive).max(1.0);
        if self.is_open {
            self.is_open = share > DEAD_SHARE / 2.0 && self.dead >= 1.0;
        } else {
            self.is_open = self.dead >= self.min_dead && share > DEAD_SHARE;
        }
        if self.is_open { Verdict::Withheld } else { Verdict::Unbind }
    }

    /// Whether the certificate had successes lately.
    pub fn has_successes(&self) -> bool {
        self.alive >= 0.5
    }

    /// Whether unbinding is stopped.
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// An operator looked at it: forget the past.
    pub fn reset(&mut self) {
        (self.dead, self.alive, self.is_open) = (0.0, 0.0, false);
    }

    fn decay(&mut self, now: DateTime<Utc>) {
        if let Some(before) = self.updated_at {
            #[expect(clippy::cast_precision_loss, reason = "milliseconds between two answers are far below 2^52")]
            let elapsed_s = (now - before).num_milliseconds().max(0) as f64 / 1_000.0;
            let factor = 0.5_f64.powf(elapsed_s / HALF_LIFE_S);
            self.dead *= factor;
            self.alive *= factor;
        }
        self.updated_at = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_000_000, 0).unwrap()
    }

    #[test]
    fn a_few_dead_tokens_among_living_ones_are_unbound() {
        let mut breaker = PruneBreaker::new(20);
        for _ in 0..100 {
            assert_eq!(breaker.judge(1, 9, now()), Verdict::Unbind);
        }
    }

    #[test]
    fn a_batch_of_dead_tokens_opens_it_before_one_is_unbound() {
        let mut breaker = PruneBreaker::new(20);
        assert_eq!(breaker.judge(1_000, 0, now()), Verdict::Withheld);
        assert!(breaker.is_open());
    }

    #[test]
    fn single_dead_answers_open_it_at_the_twentieth() {
        let mut breaker = PruneBreaker::new(20);
        let verdicts: Vec<_> = (0..20).map(|_| breaker.judge(1, 0, now())).collect();
        assert_eq!(verdicts.iter().filter(|verdict| **verdict == Verdict::Unbind).count(), 19);
        assert_eq!(verdicts[19], Verdict::Withheld);
    }

    #[test]
    fn successes_or_an_operator_close_it_and_old_answers_fade() {
        let mut breaker = PruneBreaker::new(20);
        breaker.judge(30, 0, now());
        assert_eq!(breaker.judge(0, 200, now()), Verdict::Unbind);
        breaker.judge(1_000, 0, now());
        breaker.reset();
        assert_eq!(breaker.judge(1, 0, now()), Verdict::Unbind);
        breaker.judge(18, 0, now());
        assert_eq!(breaker.judge(1, 0, now() + TimeDelta::hours(2)), Verdict::Unbind, "the burst is long past");
    }
}
