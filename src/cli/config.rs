//! `rouse config check` and `rouse config show`.

use clap::Subcommand;

use super::{Outcome, print};
use crate::config::Settings;

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Check the settings, and warn of what should not reach production
    Check,
    /// Print the settings in force, secrets masked
    Show,
}

pub(super) fn run(command: &ConfigCommand, settings: &Settings) -> Outcome {
    let text = match command {
        ConfigCommand::Check => {
            let warnings = settings.warnings().into_iter().map(|warning| format!("warning: {warning}"));
            warnings.chain(["the settings are valid\n".to_owned()]).collect::<Vec<_>>().join("\n")
        }
        ConfigCommand::Show => toml::to_string(settings)?,
    };
    print(&text)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn what_is_shown_is_a_settings_file_without_secrets() {
        let secrets = [("ROUSE_DATABASE__URL", "postgres://u:hush@h/d"), ("ROUSE_SECURITY__MASTER_KEY", "hush")];
        let environment: HashMap<_, _> =
            secrets.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let shown = toml::to_string(&Settings::read(None, environment).unwrap()).unwrap();
        assert!(!shown.contains("hush"), "{shown}");
        let keys = |text: &str| {
            text.lines().filter_map(|line| line.split_once(" = ")).map(|(key, _)| key.to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(keys(&shown), keys(crate::config::DEFAULTS), "every key, in the same order");
    }
}
