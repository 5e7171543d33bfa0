//! Table `push_counts`: what was pushed, for apps that count.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor};

use crate::domain::id::AppId;

/// What is counted: of a device and conversation for its badge, of a user (device empty) for bursts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Counted {
    pub app_id: AppId,
    pub user_id: String,
    pub device_id: String,
    /// Empty: no conversation, or all of them.
    pub conversation_id: String,
    /// The window that is counted; the epoch for badges. A row of an earlier one begins anew.
    pub since: DateTime<Utc>,
}

/// What is to be counted: each key once, in their order.
#[derive(Debug)]
pub struct Tally {
    pub keys: Vec<Counted>,
    /// Of each key.
    pub pushes: Vec<i32>,
}

impl Tally {
    /// The sums by key.
    pub fn of(pushes: impl Iterator<Item = (Counted, i32)>) -> Self {
        let mut sums: BTreeMap<Counted, i32> = BTreeMap::new();
        for (key, pushes) in pushes {
            *sums.entry(key).or_default() += pushes;
        }
        let (keys, pushes) = sums.into_iter().unzip();
        Self { keys, pushes }
    }

    /// Nothing is to be counted.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

/// Adds to each count and answers the new ones, in the same order. `counted` must be sorted: two instances that counted in
/// different order would wait for each other.
pub async fn add(db: impl PgExecutor<'_>, counted: &[Counted], pushes: &[i32]) -> sqlx::Result<Vec<i32>> {
    let rows = sqlx::query!(
        r#"WITH wanted AS MATERIALIZED (
               SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::int[])
                   WITH ORDINALITY AS w(app_id, user_id, device_id, conversation_id, since, pushes, number)),
           added AS (
               INSERT INTO push_counts AS c (app_id, user_id, device_id, conversation_id, pushes, since)
               SELECT app_id, user_id, device_id, conversation_id, pushes, since FROM wanted ORDER BY number
               ON CONFLICT (app_id, user_id, device_id, conversation_id) DO UPDATE SET
                   pushes = CASE WHEN c.since = excluded.since THEN c.pushes ELSE 0 END + excluded.pushes,
                   since = excluded.since
               RETURNING app_id, user_id, device_id, conversation_id, pushes)
           SELECT a.pushes FROM wanted w
           JOIN added a USING (app_id, user_id, device_id, conversation_id) ORDER BY w.number"#,
        &counted.iter().map(|key| key.app_id.0).collect::<Vec<_>>(),
        &counted.iter().map(|key| key.user_id.as_str()).collect::<Vec<_>>() as &[&str],
        &counted.iter().map(|key| key.device_id.as_str()).collect::<Vec<_>>() as &[&str],
        &counted.iter().map(|key| key.conversation_id.as_str()).collect::<Vec<_>>() as &[&str],
        &counted.iter().map(|key| key.since).collect::<Vec<_>>(),
        pushes,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| row.pushes).collect())
}

/// Takes back what was counted for pushes that were not made. `counted` must be sorted, as for [`add`].
pub async fn take_back(db: impl PgExecutor<'_>, counted: &[Counted], pushes: &[i32]) -> sqlx::Result<()> {
    sqlx::query!(
        "WITH held AS MATERIALIZED (
             SELECT w.* FROM (
                 SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::int[])
                     WITH ORDINALITY AS u(app_id, user_id, device_id, conversation_id, since, pushes, number)
                 ORDER BY number) AS w
             CROSS JOIN LATERAL (
                 SELECT FROM push_counts x
                 WHERE x.app_id = w.app_id AND x.user_id = w.user_id AND x.device_id = w.device_id
                   AND x.conversation_id = w.conversation_id
                 FOR UPDATE) AS x)
         UPDATE push_counts c SET pushes = greatest(c.pushes - w.pushes, 0) FROM held w
         WHERE c.app_id = w.app_id AND c.user_id = w.user_id AND c.device_id = w.device_id
           AND c.conversation_id = w.conversation_id AND c.since = w.since
           AND c.app_id = ANY ($1) AND c.user_id = ANY ($2)",
        &counted.iter().map(|key| key.app_id.0).collect::<Vec<_>>(),
        &counted.iter().map(|key| key.user_id.as_str()).collect::<Vec<_>>() as &[&str],
        &counted.iter().map(|key| key.device_id.as_str()).collect::<Vec<_>>() as &[&str],
        &counted.iter().map(|key| key.conversation_id.as_str()).collect::<Vec<_>>() as &[&str],
        &counted.iter().map(|key| key.since).collect::<Vec<_>>(),
        pushes,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// What was pushed to each of these devices (`user_ids[i]`, `device_ids[i]`) since its count began, in their order.
pub async fn of_devices(
    db: impl PgExecutor<'_>,
    app_ids: &[i64],
    user_ids: &[&str],
    device_ids: &[&str],
) -> sqlx::Result<Vec<i32>> {
    let rows = sqlx::query!(
        r#"SELECT coalesce((SELECT sum(c.pushes) FROM push_counts c
                            WHERE c.app_id = q.app_id AND c.user_id = q.user_id AND c.device_id = q.device_id), 0)::int
               AS "pushes!"
           FROM unnest($1::bigint[], $2::text[], $3::text[]) WITH ORDINALITY AS q(app_id, user_id, device_id, number)
           ORDER BY q.number"#,
        app_ids,
        user_ids as &[&str],
        device_ids as &[&str],
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| row.pushes).collect())
}

/// Counts that begin anew.
#[derive(Debug, Default)]
pub struct Anew {
    /// Of devices (user, device): their badges.
    pub devices: BTreeSet<(String, String)>,
    /// Of conversations (user, conversation), on all of the user's devices: they were read.
    pub conversations: BTreeSet<(String, String)>,
    /// Of users who are gone: everything.
    pub users: BTreeSet<String>,
}

impl Anew {
    fn is_empty(&self) -> bool {
        self.devices.is_empty() && self.conversations.is_empty() && self.users.is_empty()
    }
}

/// Forgets counts, in the order in which [`add`] takes them: whoever holds some waits for no others. They are held until the
/// transaction ends, so this is its last statement.
pub async fn begin_anew(db: &mut PgConnection, app_id: AppId, anew: &Anew) -> sqlx::Result<()> {
    if anew.is_empty() {
        return Ok(());
    }
    let columns = |pairs: &BTreeSet<(String, String)>| -> (Vec<String>, Vec<String>) { pairs.iter().cloned().unzip() };
    let (device_users, devices) = columns(&anew.devices);
    let (readers, conversations) = columns(&anew.conversations);
    // In the byte order of the keys' texts, whatever the database's own order is.
    let held = sqlx::query!(
        r#"SELECT held.user_id, held.device_id, held.conversation_id
           FROM (SELECT k.user_id, k.device_id, k.conversation_id
                 FROM (SELECT o.user_id, o.device_id, o.conversation_id
                       FROM unnest($2::text[], $3::text[]) AS q(user_id, device_id)
                       CROSS JOIN LATERAL (
                           SELECT x.user_id, x.device_id, x.conversation_id FROM push_counts x
                           WHERE x.app_id = $1 AND x.user_id = q.user_id AND x.device_id = q.device_id
                           OFFSET 0) AS o
                       UNION
                       SELECT o.user_id, o.device_id, o.conversation_id
                       FROM unnest($4::text[], $5::text[]) AS q(user_id, conversation_id)
                       CROSS JOIN LATERAL (
                           SELECT x.user_id, x.device_id, x.conversation_id FROM push_counts x
                           WHERE x.app_id = $1 AND x.user_id = q.user_id AND x.conversation_id = q.conversation_id
                             AND x.device_id <> ''
                           OFFSET 0) AS o
                       UNION
                       SELECT o.user_id, o.device_id, o.conversation_id FROM unnest($6::text[]) AS q(user_id)
                       CROSS JOIN LATERAL (
                           SELECT x.user_id, x.device_id, x.conversation_id FROM push_counts x
                           WHERE x.app_id = $1 AND x.user_id = q.user_id
                           OFFSET 0) AS o) AS k
                 ORDER BY k.user_id COLLATE "C", k.device_id COLLATE "C", k.conversation_id COLLATE "C") AS keys
           CROSS JOIN LATERAL (
               SELECT x.user_id, x.device_id, x.conversation_id FROM push_counts x
               WHERE x.app_id = $1 AND x.user_id = keys.user_id AND x.device_id = keys.device_id
                 AND x.conversation_id = keys.conversation_id
               FOR UPDATE) AS held"#,
        app_id.0,
        &device_users,
        &devices,
        &readers,
        &conversations,
        &anew.users.iter().map(String::as_str).collect::<Vec<_>>() as &[&str],
    )
    .fetch_all(&mut *db)
    .await?;
    if held.is_empty() {
        return Ok(());
    }
    // By a statement of its own: what was counted while this one waited is seen only now.
    sqlx::query!(
        "DELETE FROM push_counts c WHERE c.ctid = ANY (ARRAY(
             SELECT x.place FROM unnest($2::text[], $3::text[], $4::text[]) AS q(user_id, device_id, conversation_id)
             CROSS JOIN LATERAL (
                 SELECT y.ctid AS place FROM push_counts y
                 WHERE y.app_id = $1 AND y.user_id = q.user_id AND y.device_id = q.device_id
                   AND y.conversation_id = q.conversation_id
                 OFFSET 0) AS x))",
        app_id.0,
        &held.iter().map(|row| row.user_id.as_str()).collect::<Vec<_>>() as &[&str],
        &held.iter().map(|row| row.device_id.as_str()).collect::<Vec<_>>() as &[&str],
        &held.iter().map(|row| row.conversation_id.as_str()).collect::<Vec<_>>() as &[&str],
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Forgets windows that are over, at most `limit`. Answers how many.
pub async fn forget_windows(db: impl PgExecutor<'_>, before: DateTime<Utc>, limit: i64) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "DELETE FROM push_counts WHERE ctid = ANY (ARRAY(
             SELECT ctid FROM push_counts WHERE device_id = '' AND since < $1 LIMIT $2 FOR UPDATE SKIP LOCKED))",
        before,
        limit,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}
