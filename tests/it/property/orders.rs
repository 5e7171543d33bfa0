//! What calls at the same time may come to: the model's outcomes, in any order that fits what was answered.

use std::collections::HashSet;

use super::model::{Answer, Model, View};
use super::plan::Step;

/// A step that was made: what each call answered, and what is seen since.
pub(super) struct Made<'a> {
    pub(super) step: &'a Step,
    pub(super) answers: &'a [Vec<Answer>],
    pub(super) view: &'a View,
}

impl Made<'_> {
    /// The states the world may be in now, of those it may have been in: calls one after the other in some order.
    pub(super) fn whole(&self, before: &HashSet<Model>) -> HashSet<Model> {
        let mut fitting = HashSet::new();
        for model in before {
            self.call_by_call(model, 0, &mut fitting);
        }
        fitting
    }

    /// The same where calls of several parts meet: each device and each answer is as in some order of the parts, though not all
    /// in the same one. A call reads the names of the rows it needs and then waits for them; what another makes meanwhile it
    /// does not see, and is as one that came before.
    pub(super) fn mixed(&self, before: &HashSet<Model>) -> HashSet<Model> {
        if self.step.calls.len() == 1 || self.step.calls.iter().all(|call| call.told.len() == 1) {
            return HashSet::new();
        }
        let mut mixture = Mixture::default();
        for model in before {
            self.part_by_part(model, &mut vec![0; self.answers.len()], &mut mixture);
        }
        let mut given = self
            .answers
            .iter()
            .enumerate()
            .flat_map(|(call, answers)| (0..answers.len()).map(move |part| (call, part)));
        if given.all(|(call, part)| mixture.answers.contains(&(call, part, self.answers[call][part]))) {
            Model::blend(&mixture.outcomes, self.view)
        } else {
            HashSet::new()
        }
    }

    fn call_by_call(&self, model: &Model, done: usize, fitting: &mut HashSet<Model>) {
        if done == (1 << self.answers.len()) - 1 {
            if model.view() == *self.view {
                fitting.insert(*model);
            }
            return;
        }
        for (number, call) in self.step.calls.iter().enumerate().filter(|(number, _)| done & (1 << number) == 0) {
            let mut next = *model;
            let fits = |(told, answer): (_, &Answer)| next.hear(told, self.step.now) == *answer;
            if call.told.iter().zip(&self.answers[number]).all(fits) {
                self.call_by_call(&next, done | (1 << number), fitting);
            }
        }
    }

    fn part_by_part(&self, model: &Model, heard: &mut Vec<u32>, mixture: &mut Mixture) {
        if !mixture.known.insert((heard.clone(), *model)) {
            return;
        }
        let mut is_over = true;
        for (number, call) in self.step.calls.iter().enumerate() {
            let done = heard[number];
            for (part, told) in call.told.iter().enumerate().filter(|(part, _)| done & (1 << part) == 0) {
                is_over = false;
                // What makes no row may have looked before another call made it, though the parts before it came after.
                let is_early = (0..part).any(|earlier| done & (1 << earlier) == 0);
                if is_early && told.makes_known() {
                    continue;
                }
                let mut next = *model;
                mixture.answers.insert((number, part, next.hear(told, self.step.now)));
                heard[number] = done | (1 << part);
                self.part_by_part(&next, heard, mixture);
                heard[number] = done;
            }
        }
        if is_over {
            mixture.outcomes.insert(*model);
        }
    }
}

/// What all orders of the parts come to.
#[derive(Default)]
struct Mixture {
    known: HashSet<(Vec<u32>, Model)>,
    outcomes: HashSet<Model>,
    /// By call and part.
    answers: HashSet<(usize, usize, Answer)>,
}
