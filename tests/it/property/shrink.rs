//! Makes a sequence that fails shorter: what can be left out while it still fails is left out.

use std::time::{Duration, Instant};

use super::model::Forgotten;
use super::pair::Pair;
use super::plan::Plan;
use super::run::{Failure, run};

const LIMIT: Duration = Duration::from_secs(20);
/// A failure that depends on who comes first shows itself not each time.
const TRIES: usize = 4;

/// The shortest plan found in the time there is, and how it fails.
pub(super) async fn shrink(
    pair: &Pair,
    number: u64,
    mut plan: Plan,
    mut failure: Failure,
    forgotten: Option<Forgotten>,
) -> (Plan, Failure) {
    let until = Instant::now() + LIMIT;
    plan.steps.truncate(failure.step + 1);
    loop {
        let before = plan.events();
        for candidate in shorter(&plan).into_iter().rev() {
            if Instant::now() > until {
                return (plan, failure);
            }
            // An earlier cut of this round may have made this one pointless; the next round finds what is left.
            if candidate.events() >= plan.events() {
                continue;
            }
            if let Some(again) = fails(pair, number, &candidate, forgotten).await {
                plan = candidate;
                plan.steps.truncate(again.step + 1);
                failure = again;
                break;
            }
        }
        if plan.events() == before {
            return (plan, failure);
        }
    }
}

async fn fails(pair: &Pair, number: u64, plan: &Plan, forgotten: Option<Forgotten>) -> Option<Failure> {
    for _ in 0..TRIES {
        if let Err(failure) = run(&pair.stage(number), plan, forgotten).await {
            return Some(failure);
        }
    }
    None
}

/// The plan without one thing, a call or a step; without whole steps last.
fn shorter(plan: &Plan) -> Vec<Plan> {
    let (mut plans, mut without_steps) = (Vec::new(), Vec::new());
    for (step, planned) in plan.steps.iter().enumerate() {
        let mut without = plan.clone();
        without.steps.remove(step);
        without_steps.push(without);
        for (call, made) in planned.calls.iter().enumerate() {
            for told in 0..made.told.len() {
                let mut without = plan.clone();
                let calls = &mut without.steps[step].calls;
                calls[call].told.remove(told);
                calls.retain(|call| !call.told.is_empty());
                without.steps.retain(|step| !step.calls.is_empty());
                plans.push(without);
            }
        }
    }
    plans.extend(without_steps);
    plans
}
