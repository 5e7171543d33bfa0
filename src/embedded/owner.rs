//! The user who runs Postgres, which refuses to run as root.
//!
//! Whatever happens inside Postgres' own directory is done by a program running as this user, never by root itself:
//! root writing where another user may place links would follow them.

use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::{User, geteuid};

use super::EmbeddedError;

/// Tried in this order when root has to become somebody else.
const UNPRIVILEGED: [&str; 2] = ["postgres", "nobody"];

/// The environment Postgres sees: no setting of its client library and none of our secrets.
const KEPT_ENVIRONMENT: [&str; 2] = ["PATH", "LD_LIBRARY_PATH"];

#[derive(Debug, Clone)]
pub(super) struct Owner {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) name: String,
    /// We are root and become this user.
    pub(super) drop_privileges: bool,
}

impl Owner {
    /// Who runs a new Postgres: this process' user, or an unprivileged one when that is root.
    pub(super) fn for_new() -> Result<Self, EmbeddedError> {
        let me = geteuid();
        let lookup = |user: Option<User>| user.map(|user| (user.uid.as_raw(), user.gid.as_raw(), user.name));
        if !me.is_root() {
            let (uid, gid, name) = lookup(User::from_uid(me).ok().flatten()).unwrap_or_else(|| {
                // A container may run under an id that no user database knows.
                (me.as_raw(), nix::unistd::getegid().as_raw(), me.to_string())
            });
            return Ok(Self { uid, gid, name, drop_privileges: false });
        }
        let (uid, gid, name) = UNPRIVILEGED
            .iter()
            .find_map(|name| lookup(User::from_name(name).ok().flatten()))
            .ok_or(EmbeddedError::NoUser)?;
        Ok(Self { uid, gid, name, drop_privileges: true })
    }

    /// Who runs the Postgres in this directory: the one it belongs to, when that is possible.
    pub(super) fn for_existing(dir: &Path) -> Result<Self, EmbeddedError> {
        let usual = Self::for_new()?;
        let Ok(meta) = std::fs::symlink_metadata(dir) else { return Ok(usual) };
        if meta.uid() == usual.uid {
            return Ok(usual);
        }
        if !usual.drop_privileges || meta.uid() == 0 {
            return Err(EmbeddedError::ForeignOwner { dir: dir.to_owned(), owner: meta.uid(), user: usual.name });
        }
        let name = match User::from_uid(meta.uid().into()) {
            Ok(Some(user)) => user.name,
            _ => meta.uid().to_string(),
        };
        Ok(Self { uid: meta.uid(), gid: meta.gid(), name, drop_privileges: true })
    }

    /// A program to be run as this user, in its own process group so that a terminal's Ctrl-C does not reach it, with a
    /// clean environment, without input and output.
    pub(super) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.process_group(0).current_dir("/").env_clear().env("LC_ALL", "C");
        for name in KEPT_ENVIRONMENT {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if self.drop_privileges {
            command.gid(self.gid).uid(self.uid); // std clears the supplementary groups too
        }
        command
    }

    /// `/bin/sh -c script`, the arguments as `$1`, `$2` ...
    pub(super) fn shell<S: AsRef<OsStr>>(&self, script: &str, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = self.command("/bin/sh");
        command.arg("-c").arg(script).arg("sh").args(args);
        command
    }

    /// Runs a script to its end and returns whether it succeeded, and what it printed.
    pub(super) async fn run<S: AsRef<OsStr>>(
        &self,
        script: &str,
        args: impl IntoIterator<Item = S>,
    ) -> Result<(bool, String), EmbeddedError> {
        let mut command = self.shell(script, args);
        command.stdout(Stdio::piped());
        let output = tokio::process::Command::from(command).output().await;
        let output = output.map_err(EmbeddedError::io("run", "/bin/sh"))?;
        Ok((output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned()))
    }

    /// The first directory on the way to `path` (itself included) that this user cannot pass or, for a program, run.
    pub(super) async fn first_obstacle(&self, path: &Path) -> Result<Option<PathBuf>, EmbeddedError> {
        let mut way: Vec<&Path> = path.ancestors().collect();
        way.reverse();
        let (open, _) = self.run(r#"for step; do [ -x "$step" ] || exit 1; done"#, &way).await?;
        if open {
            return Ok(None);
        }
        for step in way {
            if !self.run(r#"[ -x "$1" ]"#, [step]).await?.0 {
                return Ok(Some(step.to_owned()));
            }
        }
        Ok(None)
    }
}
