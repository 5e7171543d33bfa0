//! Which of the messages that are pushed after all would replace a newer one on the phone, and which older ones they replace.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::reading;
use crate::domain::id::{AppId, NotificationId};
use crate::domain::notification::Content;
use crate::store;
use crate::store::rescues::{self, Asked};

/// Contents that are in memory at a time.
const CONTENTS: usize = 1_000;

/// Where something is shown: user, device, and what collapses it with others.
type Place<'a> = (&'a str, &'a str, &'a str);

/// What a transaction would push, beside what else there is for the same devices.
pub(super) struct Rivals {
    /// What waits in the database: delivery, user, device.
    waiting: Vec<(Uuid, String, String)>,
    /// What was pushed already: notification, user, device.
    pushed: Vec<(NotificationId, String, String)>,
    /// What each notification collapses with; none: with nothing.
    texts: HashMap<NotificationId, String>,
}

impl Rivals {
    /// Looks at what waits for the devices of `missed`, and at what they got since; `missed` is in the order of age.
    pub(super) async fn of(
        transaction: &mut PgConnection,
        app_id: AppId,
        missed: &[Asked<'_>],
        since: DateTime<Utc>,
    ) -> sqlx::Result<Self> {
        let mut oldest: HashMap<(&str, &str), Asked<'_>> = HashMap::new();
        for one in missed {
            oldest.entry((one.user_id, one.device_id)).or_insert(*one);
        }
        let users: BTreeSet<&str> = missed.iter().map(|one| one.user_id).collect();
        let users: Vec<&str> = users.into_iter().collect();
        let waiting = reading::waiting(&mut *transaction, app_id, &users).await?;
        let waiting: Vec<(Uuid, String, String)> = waiting
            .into_iter()
            .filter(|one| oldest.contains_key(&(&*one.user_id, &*one.device_id)))
            .map(|one| (one.delivery_id.0, one.user_id, one.device_id))
            .collect();
        let asked: Vec<Asked<'_>> = oldest.into_values().collect();
        let pushed = rescues::pushed_since(&mut *transaction, app_id, &asked, since).await?;
        let owned = |one: Asked<'_>| (one.notification_id, one.user_id.to_owned(), one.device_id.to_owned());
        let pushed: Vec<_> = pushed.into_iter().map(owned).collect();
        let ids: BTreeSet<NotificationId> = missed
            .iter()
            .map(|one| one.notification_id)
            .chain(pushed.iter().map(|(id, ..)| *id))
            .chain(waiting.iter().map(|(id, ..)| NotificationId::containing(*id)))
            .collect();
        let ids: Vec<Uuid> = ids.into_iter().map(|id| id.0).collect();
        let mut texts = HashMap::new();
        for some in ids.chunks(CONTENTS) {
            for (notification_id, _, bytes) in store::notifications::contents(&mut *transaction, some).await? {
                let content = serde_json::from_slice::<Content>(&bytes).ok();
                if let Some(text) = content.as_ref().and_then(Content::collapse_text) {
                    texts.insert(notification_id, text.to_owned());
                }
            }
        }
        Ok(Self { waiting, pushed, texts })
    }

    /// Those of `missed` that would replace a newer one: of those that are pushed too, that wait, or that were pushed.
    pub(super) fn superseded<'a>(&'a self, missed: &[Asked<'a>]) -> BTreeSet<Asked<'a>> {
        let waiting = self.waiting.iter().map(|(id, user, device)| (NotificationId::containing(*id), user, device));
        let others = waiting.chain(self.pushed.iter().map(|(id, user, device)| (*id, user, device)));
        let others = others.map(|(notification_id, user_id, device_id)| Asked { notification_id, user_id, device_id });
        let newest = self.newest(missed.iter().copied().chain(others));
        missed.iter().copied().filter(|one| self.has_newer(&newest, *one)).collect()
    }

    /// The deliveries that wait and that one of `missed` replaces.
    pub(super) fn replaced(&self, missed: &[Asked<'_>]) -> Vec<Uuid> {
        let newest = self.newest(missed.iter().copied());
        let is_replaced = |(id, user_id, device_id): &&(Uuid, String, String)| {
            self.has_newer(&newest, Asked { notification_id: NotificationId::containing(*id), user_id, device_id })
        };
        self.waiting.iter().filter(is_replaced).map(|(id, ..)| *id).collect()
    }

    fn place<'a>(&'a self, one: Asked<'a>) -> Option<Place<'a>> {
        Some((one.user_id, one.device_id, self.texts.get(&one.notification_id)?))
    }

    fn newest<'a>(&'a self, all: impl Iterator<Item = Asked<'a>>) -> HashMap<Place<'a>, NotificationId> {
        let mut newest = HashMap::new();
        for one in all {
            let Some(place) = self.place(one) else { continue };
            let newest = newest.entry(place).or_insert(one.notification_id);
            *newest = (*newest).max(one.notification_id);
        }
        newest
    }

    fn has_newer<'a>(&'a self, newest: &HashMap<Place<'a>, NotificationId>, one: Asked<'a>) -> bool {
        self.place(one).and_then(|place| newest.get(&place)).is_some_and(|newest| *newest > one.notification_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_of_a_conversation_is_left_on_each_device() {
        let id = |number: u64| NotificationId::new(number, 0);
        let on = |number, device_id| Asked { notification_id: id(number), user_id: "bob", device_id };
        let row = |number, device: &str| (id(number).delivery(1).0, "bob".to_owned(), device.to_owned());
        let texts = [(1, "room"), (2, "room"), (3, "other"), (4, "room")];
        let rivals = Rivals {
            waiting: vec![row(1, "phone"), row(1, "tablet")],
            pushed: vec![(id(4), "bob".to_owned(), "tablet".to_owned())],
            texts: texts.into_iter().map(|(number, text)| (id(number), text.to_owned())).collect(),
        };
        let missed = [on(2, "phone"), on(2, "tablet"), on(3, "phone"), on(5, "phone")];
        assert_eq!(rivals.superseded(&missed), BTreeSet::from([on(2, "tablet")]), "a newer one was pushed there");
        let left = [on(2, "phone"), on(3, "phone"), on(5, "phone")];
        assert_eq!(rivals.replaced(&left), [id(1).delivery(1).0], "on the phone, not on the tablet");
    }
}
