//! Typed settings: `config/default.toml`, then a file, then `ROUSE_*` variables. Unknown keys are errors.

mod vendors;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use config::{Config, Environment, File, FileFormat};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, Serializer};
pub use vendors::{ApnsSettings, HuaweiHosts, OppoHosts, PushHost, Vendors, XiaomiHosts};

/// The log filter of `config/default.toml`.
pub const DEFAULT_FILTER: &str = "info,sqlx::postgres::notice=warn";

/// Every key with its default, unit and meaning.
pub const DEFAULTS: &str = include_str!("../config/default.toml");

/// Names the settings file, so it is no setting itself.
pub const CONFIG_FILE_VARIABLE: &str = "ROUSE_CONFIG_FILE";

/// All settings; `config/default.toml` documents each.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub server: Server,
    pub database: Database,
    pub embedded: Embedded,
    pub security: Security,
    pub intake: Intake,
    pub dispatch: Dispatch,
    pub retention: Retention,
    pub log: Log,
    pub vendors: Vendors,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    pub listen: SocketAddr,
    pub request_timeout_s: u64,
    pub stop_deadline_s: u64,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    #[serde(serialize_with = "masked")]
    pub url: SecretString,
    pub url_file: PathBuf,
    pub api_connections: u32,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Embedded {
    pub data_dir: PathBuf,
    pub bin_dir: PathBuf,
    pub shared_buffers_mb: u32,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Security {
    #[serde(serialize_with = "masked")]
    pub master_key: SecretString,
    pub master_key_file: PathBuf,
    pub failed_logins_per_minute: u32,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Intake {
    pub max_waiting_requests: usize,
    pub max_group_recipients: usize,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Dispatch {
    pub lane_capacity: usize,
    pub memory_capacity: usize,
    pub calls_in_flight: usize,
    pub sweep_interval_ms: u64,
    pub expiry_interval_ms: u64,
    pub breaker_failures: u32,
    pub breaker_min_open_ms: u64,
    pub breaker_max_open_ms: u64,
    pub suspect_answers: u32,
    pub prune_breaker_min_dead: u32,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    pub event_days: u32,
    pub event_partition_hours: u32,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    pub filter: String,
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Pretty,
    Json,
}

/// What is wrong with the settings.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{0}")]
    Read(#[from] config::ConfigError),
    #[error("{key}: {message}")]
    Value { key: String, message: String },
    #[error("{key}: cannot read {path}: {source}")]
    SecretFile { key: &'static str, path: String, source: std::io::Error },
    #[error("vendors: {0}")]
    Vendors(#[from] serde_json::Error),
}

impl Settings {
    /// Reads defaults, then `file`, then the environment, and checks the result.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let is_setting = |name: &str| name.starts_with("ROUSE_") && name != CONFIG_FILE_VARIABLE;
        let environment = std::env::vars().filter(|(name, _)| is_setting(name)).collect();
        Self::read(file, environment)
    }

    /// The same with the environment given, for tests.
    pub fn read(
        file: Option<&Path>,
        environment: std::collections::HashMap<String, String>,
    ) -> Result<Self, ConfigError> {
        let mut builder = Config::builder().add_source(File::from_str(DEFAULTS, FileFormat::Toml));
        if let Some(file) = file {
            builder = builder.add_source(File::from(file).format(FileFormat::Toml));
        }
        let environment =
            Environment::with_prefix("ROUSE").prefix_separator("_").separator("__").source(Some(environment));
        let settings: Self = builder.add_source(environment).build()?.try_deserialize()?;
        settings.with_secret_files()?.checked()
    }

    fn with_secret_files(mut self) -> Result<Self, ConfigError> {
        read_secret("database.url_file", &self.database.url_file, &mut self.database.url)?;
        read_secret("security.master_key_file", &self.security.master_key_file, &mut self.security.master_key)?;
        Ok(self)
    }

    fn checked(self) -> Result<Self, ConfigError> {
        let d = &self.dispatch;
        for (key, value, range) in [
            ("database.api_connections", u64::from(self.database.api_connections), 2..=1_000),
            ("embedded.shared_buffers_mb", u64::from(self.embedded.shared_buffers_mb), 16..=1_000_000),
            ("server.request_timeout_s", self.server.request_timeout_s, 1..=600),
            ("server.stop_deadline_s", self.server.stop_deadline_s, 0..=3_600),
            ("intake.max_waiting_requests", self.intake.max_waiting_requests as u64, 1..=100_000),
            ("intake.max_group_recipients", self.intake.max_group_recipients as u64, 1..=100_000),
            ("dispatch.lane_capacity", d.lane_capacity as u64, 1..=1_000_000),
            ("dispatch.memory_capacity", d.memory_capacity as u64, 1..=10_000_000),
            ("dispatch.calls_in_flight", d.calls_in_flight as u64, 1..=10_000),
            ("dispatch.sweep_interval_ms", d.sweep_interval_ms, 10..=60_000),
            ("dispatch.expiry_interval_ms", d.expiry_interval_ms, 10..=600_000),
            ("dispatch.breaker_failures", u64::from(d.breaker_failures), 1..=100_000),
            ("dispatch.breaker_min_open_ms", d.breaker_min_open_ms, 10..=d.breaker_max_open_ms),
            ("dispatch.suspect_answers", u64::from(d.suspect_answers), 1..=100_000),
            ("dispatch.prune_breaker_min_dead", u64::from(d.prune_breaker_min_dead), 2..=1_000_000),
            ("retention.event_days", u64::from(self.retention.event_days), 1..=3_650),
            ("retention.event_partition_hours", u64::from(self.retention.event_partition_hours), 1..=24),
            ("vendors.connect_timeout_ms", self.vendors.connect_timeout_ms, 10..=600_000),
            ("vendors.call_timeout_ms", self.vendors.call_timeout_ms, 10..=600_000),
            ("vendors.apns.connections", self.vendors.apns.connections as u64, 1..=64),
            ("vendors.apns.streams_per_connection", self.vendors.apns.streams_per_connection as u64, 1..=10_000),
        ] {
            if !range.contains(&value) {
                let message = format!("must be {} to {}, not {value}", range.start(), range.end());
                return Err(ConfigError::Value { key: key.to_owned(), message });
            }
        }
        if 24 % self.retention.event_partition_hours != 0 {
            let message = "must divide 24".to_owned();
            return Err(ConfigError::Value { key: "retention.event_partition_hours".to_owned(), message });
        }
        for (key, host) in self.vendors.hosts()? {
            let url = match url::Url::parse(&host) {
                Ok(url) => url,
                Err(error) => return Err(ConfigError::Value { key, message: error.to_string() }),
            };
            let is_bare = matches!(url.scheme(), "http" | "https") && url.path() == "/" && url.query().is_none();
            if !is_bare || host.ends_with('/') {
                let message = format!("must be http:// or https:// with a host and nothing after it, not {host}");
                return Err(ConfigError::Value { key, message });
            }
        }
        Ok(self)
    }

    /// What works but should not reach production.
    pub fn warnings(&self) -> Vec<String> {
        let hosts = self.vendors.hosts().into_iter().flatten(); // that they can be listed was checked
        hosts
            .filter(|(_, host)| host.starts_with("http://"))
            .map(|(key, host)| format!("{key} = {host}: credentials and messages travel unencrypted"))
            .collect()
    }

    /// Whether Rouse runs its own Postgres.
    pub fn is_embedded(&self) -> bool {
        self.database.url.expose_secret().is_empty()
    }
}

/// Shows that a secret is set, and nothing more.
fn masked<S: Serializer>(secret: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(if secret.expose_secret().is_empty() { "" } else { "***" })
}

fn read_secret(key: &'static str, path: &Path, into: &mut SecretString) -> Result<(), ConfigError> {
    if path.as_os_str().is_empty() {
        return Ok(());
    }
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::SecretFile {
        key,
        path: path.display().to_string(),
        source,
    })?;
    *into = text.trim().to_owned().into();
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, ConfigError> {
        let environment: HashMap<_, _> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Settings::read(None, environment)
    }

    #[test]
    fn the_documented_defaults_are_whole_and_the_environment_beats_them() {
        assert!(read(&[]).unwrap().is_embedded());
        let settings = read(&[
            ("ROUSE_VENDORS__XIAOMI__CN", "http://127.0.0.1:7300"),
            ("ROUSE_DISPATCH__LANE_CAPACITY", "5"),
            ("ROUSE_SERVER__LISTEN", "127.0.0.1:0"),
        ])
        .unwrap();
        assert_eq!(settings.vendors.xiaomi.cn, "http://127.0.0.1:7300");
        assert_eq!(settings.dispatch.lane_capacity, 5);
        assert_eq!(settings.warnings().len(), 1);
    }

    #[test]
    fn unknown_keys_and_bad_values_name_the_key() {
        for (name, value, expected) in [
            ("ROUSE_DISPATCH__LANES", "5", "lanes"),
            ("ROUSE_DISPATCH__LANE_CAPACITY", "many", "lane_capacity"),
            ("ROUSE_DISPATCH__LANE_CAPACITY", "0", "dispatch.lane_capacity: must be 1 to 1000000"),
            ("ROUSE_VENDORS__XIAOMI__CN", "ftp://x", "vendors.xiaomi.cn"),
            ("ROUSE_VENDORS__XIAOMI__CN", "http://x/path", "vendors.xiaomi.cn"),
            ("ROUSE_RETENTION__EVENT_PARTITION_HOURS", "5", "must divide 24"),
            ("ROUSE_DATABASE__URL_FILE", "/nonexistent/url", "database.url_file: cannot read"),
        ] {
            let error = read(&[(name, value)]).unwrap_err().to_string();
            assert!(error.contains(expected), "{name}={value}: {error}");
        }
    }
}
