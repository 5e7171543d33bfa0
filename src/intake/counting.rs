//! Counting pushes, for apps that ask for it: bursts become one line, users get no more than so many a minute, and the server
//! counts the badge. Other apps' notifications pass untouched, without a statement.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::group::{Draft, answer, settings_of};
use super::{IntakeError, Skipped, Worker};
use crate::directory::Snapshot;
use crate::domain::burst::{TextVariant, window_start};
use crate::domain::routing::SkipReason;
use crate::store;
use crate::store::line::{STATEMENT_LIMIT, bounded};
use crate::store::push_counts::{self, Counted, Tally};

/// The window of the bound on pushes to one user.
const MINUTE_S: u32 = 60;

/// What was counted for one request.
pub(super) type Counts = Vec<Counted>;

/// How often counting is tried again when the database asks for it: two transactions met.
const MAX_TRIES: usize = 3;

impl Worker {
    /// Counts what these requests push, and writes into them what follows from the counts. Those that cannot be counted are
    /// answered, and not in what is left.
    ///
    /// The counts are committed before the requests are. Replays are looked up and not counted; where that comes too late, and
    /// where nothing is stored after all, the count is taken back ([`Worker::take_back`]). A crash in between, or a commit
    /// without an answer, leaves a count that is one too high until it next begins anew.
    pub(super) async fn count(&self, drafts: Vec<Draft>, snapshot: &Snapshot) -> Vec<Draft> {
        let now = self.clock.now();
        let counts = |draft: &Draft| !of_badges(draft).is_empty() || !of_bursts(draft, snapshot, now).is_empty();
        let (mut counting, mut others): (Vec<Draft>, Vec<Draft>) = drafts.into_iter().partition(counts);
        if counting.is_empty() {
            return others;
        }
        match self.try_count(&mut counting, snapshot, now).await {
            Ok(()) => others.extend(counting),
            Err(error) => {
                tracing::warn!(%error, requests = counting.len(), "cannot count pushes; nothing was stored of what counts");
                for draft in counting {
                    self.take_back(draft.counted);
                    answer(draft.answer, Err(IntakeError::Unavailable));
                }
            }
        }
        others
    }

    async fn try_count(&self, counting: &mut [Draft], snapshot: &Snapshot, now: DateTime<Utc>) -> sqlx::Result<()> {
        self.mark_known(counting).await?;
        let bursts = Tally::of(counting.iter().flat_map(|draft| of_bursts(draft, snapshot, now)));
        if !bursts.is_empty() {
            let counts = self.add(&bursts).await?;
            note(counting, |draft| of_bursts(draft, snapshot, now));
            shorten(counting, snapshot, &counts, now);
        }
        let badges = Tally::of(counting.iter().flat_map(of_badges));
        if !badges.is_empty() {
            let sums = self.add_badges(&badges).await?;
            note(counting, of_badges);
            set_badges(counting, sums);
        }
        Ok(())
    }

    /// A message that is known already is not counted once more.
    async fn mark_known(&self, counting: &mut [Draft]) -> sqlx::Result<()> {
        let app_ids: Vec<i64> = counting.iter().map(|draft| draft.new.app_id.0).collect();
        let message_ids: Vec<&str> = counting.iter().map(|draft| draft.new.message_id.as_str()).collect();
        let parts: Vec<i32> = counting.iter().map(|draft| i32::from(draft.new.part)).collect();
        let mut line = self.line.open().await?;
        let are_known = store::notifications::are_known(&mut *line, &app_ids, &message_ids, &parts);
        let known = bounded(STATEMENT_LIMIT, are_known).await;
        let known = line.keep(known)?;
        for (draft, is_known) in counting.iter_mut().zip(known) {
            draft.is_known = is_known;
        }
        Ok(())
    }

    /// Takes back what was counted for a request that was not stored. In the background: nobody waits for it.
    pub(super) fn take_back(&self, counted: Counts) {
        if counted.is_empty() {
            return;
        }
        let (database, tally) = (self.database.clone(), Tally::of(counted.into_iter().map(|key| (key, 1))));
        self.tasks.spawn(async move {
            let take_back = push_counts::take_back(&database.pipeline, &tally.keys, &tally.pushes);
            if let Err(error) = bounded(STATEMENT_LIMIT, take_back).await {
                tracing::warn!(%error, "cannot take back what was counted and not stored: a count is too high");
            }
        });
    }

    async fn add(&self, tally: &Tally) -> sqlx::Result<HashMap<Counted, i32>> {
        let mut tries = 1;
        loop {
            let mut line = self.line.open().await?;
            let added = bounded(STATEMENT_LIMIT, push_counts::add(&mut *line, &tally.keys, &tally.pushes)).await;
            match line.keep(added) {
                Err(error) if tries < MAX_TRIES && store::is_transient(&error) => tries += 1,
                added => return Ok(tally.keys.iter().cloned().zip(added?).collect()),
            }
        }
    }

    /// Adds to the badge counts; answers what was pushed to each device (app, user, device) in all.
    async fn add_badges(&self, tally: &Tally) -> sqlx::Result<HashMap<(i64, String, String), i32>> {
        self.add(tally).await?;
        let mut devices: Vec<(i64, String, String)> =
            tally.keys.iter().map(|key| (key.app_id.0, key.user_id.clone(), key.device_id.clone())).collect();
        devices.dedup();
        let app_ids: Vec<i64> = devices.iter().map(|device| device.0).collect();
        let users: Vec<&str> = devices.iter().map(|device| device.1.as_str()).collect();
        let ids: Vec<&str> = devices.iter().map(|device| device.2.as_str()).collect();
        let mut line = self.line.open().await?;
        let sums = bounded(STATEMENT_LIMIT, push_counts::of_devices(&mut *line, &app_ids, &users, &ids)).await;
        Ok(devices.iter().cloned().zip(line.keep(sums)?).collect())
    }
}

/// Notes in each draft what was counted for it.
fn note(drafts: &mut [Draft], keys: impl Fn(&Draft) -> Vec<(Counted, i32)>) {
    for draft in drafts {
        let own = keys(draft);
        draft.counted.extend(own.into_iter().filter(|(_, pushes)| *pushes > 0).map(|(key, _)| key));
    }
}

/// The users of a draft, each once.
fn users(draft: &Draft) -> Vec<String> {
    let mut users: Vec<String> = draft.chosen.iter().map(|chosen| chosen.user_id.clone()).collect();
    users.dedup();
    users
}

fn of_user(draft: &Draft, user_id: &str, conversation_id: &str, since: DateTime<Utc>) -> Counted {
    Counted {
        app_id: draft.new.app_id,
        user_id: user_id.to_owned(),
        device_id: String::new(),
        conversation_id: conversation_id.to_owned(),
        since,
    }
}

fn of_bursts(draft: &Draft, snapshot: &Snapshot, now: DateTime<Utc>) -> Vec<(Counted, i32)> {
    let settings = settings_of(snapshot, draft.new.app_id);
    let Some(rule) = &settings.burst.as_ref().filter(|_| !draft.is_known) else { return Vec::new() };
    let mut keys = Vec::new();
    for user in users(draft) {
        if let Some(conversation_id) = &draft.new.content.conversation_id {
            keys.push((of_user(draft, &user, conversation_id, window_start(now, rule.window_s)), 1));
        }
        if rule.max_per_minute.is_some() {
            keys.push((of_user(draft, &user, "", window_start(now, MINUTE_S)), 1));
        }
    }
    keys
}

/// Makes one line of what is too much of one conversation, and skips what is too much for one user.
fn shorten(drafts: &mut [Draft], snapshot: &Snapshot, counts: &HashMap<Counted, i32>, now: DateTime<Utc>) {
    // A group may hold several for one key: the last of them has the whole count.
    let mut later: HashMap<Counted, i32> = HashMap::new();
    let mut count = |key: Counted| {
        let total = counts.get(&key).copied().unwrap_or(0);
        let seen = later.entry(key).or_default();
        *seen += 1;
        total - (*seen - 1)
    };
    for draft in drafts.iter_mut().rev() {
        let settings = settings_of(snapshot, draft.new.app_id);
        let Some(rule) = settings.burst.as_ref().filter(|_| !draft.is_known) else { continue };
        for user in users(draft) {
            if let Some(conversation_id) = draft.new.content.conversation_id.clone() {
                let messages = count(of_user(draft, &user, &conversation_id, window_start(now, rule.window_s)));
                if messages > i32::from(rule.after) {
                    let count = u16::try_from(messages).unwrap_or(u16::MAX);
                    let of_user = draft.chosen.iter_mut().filter(|chosen| chosen.user_id == user);
                    for chosen in of_user.filter(|chosen| chosen.variant == TextVariant::Own) {
                        chosen.variant = TextVariant::Summary(count);
                    }
                }
            }
            let Some(most) = rule.max_per_minute else { continue };
            if count(of_user(draft, &user, "", window_start(now, MINUTE_S))) > i32::from(most) {
                draft.chosen.retain(|chosen| chosen.user_id != user);
                draft.skipped.push(Skipped { user_id: user, device_id: None, reason: SkipReason::BurstCapped });
            }
        }
    }
}

fn of_badges(draft: &Draft) -> Vec<(Counted, i32)> {
    // A message that does not count shows the count all the same.
    let pushes = i32::from(draft.new.content.raises_badge() && !draft.is_known);
    let counting = draft.chosen.iter().filter(|chosen| chosen.counts_badge);
    counting
        .map(|chosen| {
            let key = Counted {
                app_id: draft.new.app_id,
                user_id: chosen.user_id.clone(),
                device_id: chosen.device_id.clone(),
                conversation_id: draft.new.content.conversation_id.clone().unwrap_or_default(),
                since: DateTime::UNIX_EPOCH,
            };
            (key, pushes)
        })
        .collect()
}

/// The last of a group shows all that was counted, the ones before it less.
fn set_badges(drafts: &mut [Draft], mut sums: HashMap<(i64, String, String), i32>) {
    for draft in drafts.iter_mut().rev() {
        let app_id = draft.new.app_id.0;
        let counts: HashMap<(String, String), i32> =
            of_badges(draft).into_iter().map(|(key, pushes)| ((key.user_id, key.device_id), pushes)).collect();
        for chosen in draft.chosen.iter_mut().filter(|chosen| chosen.counts_badge) {
            let Some(sum) = sums.get_mut(&(app_id, chosen.user_id.clone(), chosen.device_id.clone())) else { continue };
            chosen.badge = chosen.badge.map(|base| base.saturating_add(*sum));
            *sum -= counts.get(&(chosen.user_id.clone(), chosen.device_id.clone())).copied().unwrap_or(0);
        }
    }
}
