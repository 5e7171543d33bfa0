//! Tells a sequence to two servers and to the model, and compares.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::time::Instant;

use futures_util::future::join_all;

use super::model::{Forgotten, Model, Policy, holds, is_live, is_pushed_to};
use super::orders::Made;
use super::pair::{Seen, Stage};
use super::plan::{DEVICES, Plan, Step, TOKENS, USERS, What};

/// Where a sequence went wrong, and how.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) step: usize,
    pub(super) what: String,
}

/// What one sequence showed besides that it is right.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Tally {
    pub(super) events: usize,
    pub(super) pushes: usize,
    /// Steps whose calls were not one after the other in any order, only their parts.
    pub(super) mixed: usize,
}

/// Runs one sequence.
pub(super) async fn run(stage: &Stage<'_>, plan: &Plan, forgotten: Option<Forgotten>) -> Result<Tally, Failure> {
    let mut possible = HashSet::from([Model::new(stage.policy, forgotten)]);
    let mut pushes = Default::default();
    let mut tally = Tally { events: plan.events(), ..Tally::default() };
    for (number, step) in plan.steps.iter().enumerate() {
        let failed = |what: String| Failure { step: number, what };
        let began = Instant::now();
        let told = join_all(step.calls.iter().map(|call| stage.tell(call, step.now))).await;
        let answers: Result<Vec<_>, _> = told.into_iter().collect();
        let answers = answers.map_err(|error| failed(format!("a call failed: {error}")))?;
        let instances: HashSet<usize> = step.calls.iter().map(|call| call.instance).collect();
        let other = usize::from(!instances.contains(&1));
        let seen = stage.look(other, step.now).await.map_err(|error| failed(format!("cannot look: {error}")))?;
        check(&seen, stage.policy).map_err(&failed)?;
        let made = Made { step, answers: &answers, view: &seen.view };
        let mut fitting = made.whole(&possible);
        if fitting.is_empty() {
            fitting = made.mixed(&possible);
            tally.mixed += 1;
            if fitting.is_empty() {
                let expected = describe(&possible, step);
                return Err(failed(format!("answered {answers:?}\nseen:\n{}{expected}", table(&seen.view))));
            }
        }
        possible = fitting;
        let is_verdict = step.calls.iter().any(|call| matches!(call.told[0].what, What::Verdict(_)));
        if !is_verdict {
            check_revoked(stage, &instances, began, &pushes, &seen).map_err(&failed)?;
        }
        pushes = seen.pushes;
        tally.pushes += pushes.iter().flatten().flatten().count();
    }
    Ok(tally)
}

/// What holds whatever was told.
fn check(seen: &Seen, policy: Option<Policy>) -> Result<(), String> {
    for token in 0..TOKENS {
        let live = seen.view.iter().flatten().flatten();
        let live = live.filter(|device| device.binding.is_some_and(|(held, status)| held == token && holds(status)));
        if live.count() > 1 {
            return Err(format!("token t{token} is live twice:\n{}", table(&seen.view)));
        }
    }
    for (user, device) in places() {
        let known = seen.view[user][device];
        let right = known.filter(|known| is_pushed_to(*known)).and_then(|known| known.binding).map(|(token, _)| token);
        if seen.pushes[user][device] != right {
            let pushed = seen.pushes[user][device];
            return Err(format!("u{user}/d{device} gets {pushed:?}, by right {right:?}:\n{}", table(&seen.view)));
        }
        if known.is_some_and(|known| !is_live(known.state) && known.binding.is_some_and(|(_, status)| holds(status))) {
            return Err(format!("u{user}/d{device} is out and holds a token:\n{}", table(&seen.view)));
        }
        let is_crowded = |other: usize| {
            let both = (seen.platforms[user][device], seen.platforms[user][other]);
            let are_live =
                [device, other].iter().all(|d| seen.view[user][*d].is_some_and(|known| is_live(known.state)));
            matches!((policy, both), (Some(policy), (Some(one), Some(other))) if are_live && policy.excludes(one, other))
        };
        if (0..device).any(is_crowded) {
            return Err(format!("u{user} has more sessions than {policy:?} allows:\n{}", table(&seen.view)));
        }
    }
    Ok(())
}

/// Who was pushed to and is not any more, or with another token, is held back at once where that was acknowledged.
fn check_revoked(
    stage: &Stage<'_>,
    instances: &HashSet<usize>,
    since: Instant,
    before: &[[Option<usize>; DEVICES]; USERS],
    seen: &Seen,
) -> Result<(), String> {
    for (user, device) in places() {
        let had = before[user][device];
        if had.is_some() && had != seen.pushes[user][device] && !stage.is_revoked(instances, since, user, device) {
            return Err(format!("u{user}/d{device} lost its right, and no instance of {instances:?} knows"));
        }
    }
    Ok(())
}

fn places() -> impl Iterator<Item = (usize, usize)> {
    (0..USERS).flat_map(|user| (0..DEVICES).map(move |device| (user, device)))
}

fn table(view: &super::model::View) -> String {
    let mut text = String::new();
    for (user, device) in places() {
        if let Some(known) = view[user][device] {
            let binding = known.binding.map(|(token, status)| format!(" t{token} {status:?}")).unwrap_or_default();
            writeln!(text, "  u{user}/d{device} {:?}{binding}", known.state).unwrap();
        }
    }
    text
}

/// What the model would have answered and shown, its calls in their order.
fn describe(possible: &HashSet<Model>, step: &Step) -> String {
    let mut text = String::new();
    for model in possible.iter().take(2) {
        let mut next = *model;
        let mut answers = Vec::new();
        for call in &step.calls {
            answers.push(call.told.iter().map(|told| next.hear(told, step.now)).collect::<Vec<_>>());
        }
        let (before, after) = (table(&model.view()), table(&next.view()));
        write!(text, "before:\n{before}right in this order: {answers:?}\n{after}").unwrap();
    }
    text
}
