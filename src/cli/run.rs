//! What commands that use the database share: where it is, and with which master key.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

use crate::config::Settings;
use crate::embedded::{EmbeddedError, EmbeddedOptions, EmbeddedPostgres, Mode};
use crate::secrets::{SecretError, new_master_key};

/// Why there is no database or no key.
#[derive(Debug, thiserror::Error)]
pub(super) enum SetupError {
    #[error(transparent)]
    Embedded(#[from] EmbeddedError),
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error(
        "security.master_key is needed with a database of your own: set it, or security.master_key_file (make one with: openssl rand -base64 32)"
    )]
    NoMasterKey,
    #[error("cannot use {path}: {source}")]
    MasterKeyFile { path: String, source: std::io::Error },
}

/// A database to work with, and the private Postgres behind it, if it is one.
pub(super) struct Store {
    pub url: SecretString,
    pub embedded: Option<EmbeddedPostgres>,
}

impl Store {
    /// The configured database, or the private one in the data directory.
    pub(super) async fn open(settings: &Settings, mode: Mode) -> Result<Self, SetupError> {
        if !settings.is_embedded() {
            return Ok(Self { url: settings.database.url.clone(), embedded: None });
        }
        let options = EmbeddedOptions {
            data_dir: match mode {
                Mode::Serve => settings.embedded.data_dir.clone(),
                Mode::Temporary => std::env::temp_dir(),
            },
            bin_dir: given(&settings.embedded.bin_dir),
            mode,
            shared_buffers_mb: settings.embedded.shared_buffers_mb,
        };
        let embedded = EmbeddedPostgres::start(options).await?;
        if embedded.was_adopted() {
            tracing::warn!("adopted the Postgres that an earlier server left running");
        }
        Ok(Self { url: embedded.connection_url().to_owned().into(), embedded: Some(embedded) })
    }

    /// Stops the private Postgres.
    pub(super) async fn close(self) {
        if let Some(embedded) = self.embedded {
            embedded.stop().await;
        }
    }
}

fn given(path: &Path) -> Option<PathBuf> {
    (!path.as_os_str().is_empty()).then(|| path.to_owned())
}

/// The configured master key; with the private Postgres one is made on first use.
pub(super) fn master_key(settings: &Settings) -> Result<SecretString, SetupError> {
    let configured = &settings.security.master_key;
    if !configured.expose_secret().is_empty() {
        return Ok(configured.clone());
    }
    if !settings.is_embedded() {
        return Err(SetupError::NoMasterKey);
    }
    let path = settings.embedded.data_dir.join("master.key");
    let failed = |source| SetupError::MasterKeyFile { path: path.display().to_string(), source };
    let key = new_master_key()?;
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
        Ok(mut file) => {
            file.write_all(key.expose_secret().as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
            Ok(key)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            Ok(std::fs::read_to_string(&path).map_err(failed)?.trim().to_owned().into())
        }
        Err(error) => Err(failed(error)),
    }
}
