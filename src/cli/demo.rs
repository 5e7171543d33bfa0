//! `rouse demo`.
use super::Outcome;
use crate::config::Settings;
use clap::Args;
#[derive(Debug, Args)]
pub(super) struct DemoArgs {}
pub(super) async fn run(_settings: Settings, _options: DemoArgs) -> Outcome {
    Ok(())
}
