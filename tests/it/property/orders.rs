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
            self.call_by_call(*model, 0, &mut fitting);
        }
        fitting
    }

    /// The same where calls mix: each one's parts stay in their order.
    pub(super) fn mixed(&self, before: &HashSet<Model>) -> HashSet<Model> {
        let (mut fitting, mut known) = (HashSet::new(), HashSet::new());
        for model in before {
            self.part_by_part(*model, &mut vec![0; self.answers.len()], &mut known, &mut fitting);
        }
        fitting
    }

    fn call_by_call(&self, model: Model, done: usize, fitting: &mut HashSet<Model>) {
        if done == (1 << self.answers.len()) - 1 {
            if model.view() == *self.view {
                fitting.insert(model);
            }
            return;
        }
        for (number, call) in self.step.calls.iter().enumerate().filter(|(number, _)| done & (1 << number) == 0) {
            // A call that has to be made again, part by part, meets its devices one by one.
            for meets_first in [true, false] {
                let mut next = model;
                if meets_first {
                    call.told.iter().for_each(|told| next.meet(told));
                }
                let fits = |(told, answer): (_, &Answer)| next.hear(told, self.step.now) == *answer;
                if call.told.iter().zip(&self.answers[number]).all(fits) {
                    self.call_by_call(next, done | (1 << number), fitting);
                }
                if call.told.len() == 1 {
                    break;
                }
            }
        }
    }

    fn part_by_part(
        &self,
        model: Model,
        heard: &mut Vec<usize>,
        known: &mut HashSet<(Vec<usize>, Model)>,
        fitting: &mut HashSet<Model>,
    ) {
        if !known.insert((heard.clone(), model)) {
            return;
        }
        let mut is_over = true;
        for (number, call) in self.step.calls.iter().enumerate() {
            let Some(told) = call.told.get(heard[number]) else { continue };
            is_over = false;
            for meets_first in [true, false] {
                let mut next = model;
                if meets_first {
                    call.told[heard[number]..].iter().for_each(|told| next.meet(told));
                }
                if next.hear(told, self.step.now) == self.answers[number][heard[number]] {
                    heard[number] += 1;
                    self.part_by_part(next, heard, known, fitting);
                    heard[number] -= 1;
                }
            }
        }
        if is_over && model.view() == *self.view {
            fitting.insert(model);
        }
    }
}
