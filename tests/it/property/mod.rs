//! Sessions and routing against a model: random sequences of session events, told to two servers on one database, many at the
//! same time. What they answer and what they show has to be what the model says for some order of the calls.

mod model;
mod orders;
mod pair;
mod plan;
mod run;
mod shrink;

use futures_util::{StreamExt, stream};
use rand::RngExt;
use sqlx::PgPool;

use self::model::Forgotten;
use self::pair::Pair;
use self::plan::Plan;
use self::run::{Failure, Tally, run};
use self::shrink::shrink;
use crate::chaos::say;

/// Sequences that run at the same time.
const AT_ONCE: usize = 8;
const SEQUENCES: u64 = 2_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// Runs the sequences of these numbers; the first that fails, or what all of them showed.
async fn run_all(
    pair: &Pair,
    seed: u64,
    sequences: u64,
    forgotten: Option<Forgotten>,
) -> Result<Tally, (u64, Plan, Failure)> {
    let mut runs = stream::iter(0..sequences)
        .map(|number| async move {
            let plan = Plan::draw(seed.wrapping_add(number));
            let result = run(&pair.stage(number), &plan, forgotten).await;
            result.map_err(|failure| (number, plan, failure))
        })
        .buffer_unordered(AT_ONCE);
    let mut all = Tally::default();
    while let Some(result) = runs.next().await {
        let tally = result?;
        all.events += tally.events;
        all.pushes += tally.pushes;
        all.mixed += tally.mixed;
    }
    Ok(all)
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn two_servers_do_what_the_model_says_in_every_order_of_events(pool: PgPool) {
    let seed = number("ROUSE_PROPERTY_SEED").unwrap_or_else(|| rand::rng().random());
    let sequences = number("ROUSE_PROPERTY_SEQUENCES").unwrap_or(SEQUENCES);
    let pair = Pair::start(pool).await;
    let began = std::time::Instant::now();
    let result = run_all(&pair, seed, sequences, None).await;
    if let Err((number, plan, failure)) = result {
        let told = plan.to_string();
        let (short, shortest) = shrink(&pair, number, plan, failure, None).await;
        panic!(
            "seed {seed}, sequence {number} (ROUSE_PROPERTY_SEED={seed} repeats it) fails in step {}: {}\n\
             shortened:\n{short}\nwhole:\n{told}",
            shortest.step, shortest.what
        );
    }
    let tally = result.unwrap_or_default();
    say(&format!("seed {seed}: {sequences} sequences, {tally:?}, {:.1?}", began.elapsed()));
    let twice: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM (SELECT FROM devices WHERE binding_status IN ('active', 'muted')
                               GROUP BY app_id, vendor, token_digest HAVING count(*) > 1) AS twice",
    )
    .fetch_one(pair.pool())
    .await
    .unwrap();
    assert_eq!(twice, 0, "tokens with two live bindings");
    assert!(tally.pushes > 0, "nobody would have been pushed to");
    pair.stop().await;
}

#[sqlx::test(migrator = "rouse::MIGRATOR")]
async fn a_model_that_forgets_a_rule_is_told_apart(pool: PgPool) {
    let pair = Pair::start(pool).await;
    for forgotten in [Forgotten::Kicks, Forgotten::TokensMove, Forgotten::NewerReports, Forgotten::LateLogouts] {
        let result = run_all(&pair, 1, 48, Some(forgotten)).await;
        assert!(result.is_err(), "{forgotten:?} was not missed");
    }
    pair.stop().await;
}
