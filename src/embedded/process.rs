//! The postmaster's process: our child, or one that an earlier server left behind.

use std::path::PathBuf;
use std::process::Child;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::postmaster;

/// Dropping it asks Postgres to stop, so that a start that is given up leaves nothing running.
#[derive(Debug)]
pub(super) struct Process {
    pid: i32,
    /// `None`: adopted.
    child: Option<Child>,
    data: PathBuf,
}

impl Process {
    pub(super) fn child(child: Child, data: PathBuf) -> Self {
        Self { pid: i32::try_from(child.id()).unwrap_or(i32::MAX), child: Some(child), data }
    }

    pub(super) fn adopted(pid: i32, data: PathBuf) -> Self {
        Self { pid, child: None, data }
    }

    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    pub(super) fn is_adopted(&self) -> bool {
        self.child.is_none()
    }

    pub(super) fn is_running(&mut self) -> bool {
        match &mut self.child {
            Some(child) => matches!(child.try_wait(), Ok(None)),
            None => postmaster::is_postmaster(self.pid, &self.data),
        }
    }

    /// Sends a signal; call it only when the process is running.
    pub(super) fn signal(&self, signal: Signal) {
        match kill(Pid::from_raw(self.pid), signal) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => tracing::warn!(pid = self.pid, %signal, %error, "cannot signal the private Postgres"),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.is_running() {
            return;
        }
        self.signal(Signal::SIGINT);
        if let Some(mut child) = self.child.take() {
            // Reaped in the background: who looks whether it is gone must not see a zombie.
            std::thread::spawn(move || child.wait());
        }
    }
}
