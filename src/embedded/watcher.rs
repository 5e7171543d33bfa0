//! Removes a temporary Postgres when its owner ends, in whatever way.
//!
//! A small shell holds the reading end of a pipe whose writing end only this process has. When this process ends, by
//! SIGKILL too, the system closes the pipe, and the shell stops Postgres and removes the directory.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::EmbeddedError;
use super::home::{Home, fits_socket};
use super::owner::Owner;

const SCRIPT: &str = r#"dir=$1
trap '' HUP INT QUIT TERM PIPE
umask 077
mkdir -- "$dir" || exit 1
while read -r line; do :; done
# Out of the way first: a program about to be launched finds no directory to note its process id in, and ends.
mv -- "$dir" "$dir.gone" || exit 1
pid=$(cat "$dir.gone/launched.pid" 2>/dev/null) || pid=
is_alive() {
    [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null && ! grep -q '^State:.*Z' "/proc/$pid/status" 2>/dev/null
}
tries=0
while is_alive && [ "$tries" -lt 200 ]; do
    tries=$((tries + 1))
    # Again and again: a program that has just begun does not listen to signals yet.
    if [ "$tries" -lt 100 ]; then kill -INT "$pid"; elif [ "$tries" -lt 150 ]; then kill -QUIT "$pid"; else kill -KILL "$pid"; fi
    sleep 0.1
done 2>/dev/null
# Postgres' own children need a moment to see that their parent is gone; initdb may have made the first name again.
tries=0
until rm -rf -- "$dir.gone" "$dir" 2>/dev/null || [ "$tries" -ge 50 ]; do tries=$((tries + 1)); sleep 0.1; done"#;

/// Longer than the script's patience.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Watcher {
    shell: Child,
}

impl Watcher {
    /// Makes a fresh directory below `parent` and watches over it.
    pub(super) async fn start(parent: &Path) -> Result<(Self, Home), EmbeddedError> {
        let owner = Owner::for_new()?;
        let dir = parent_for(&owner, parent).await?.join(format!("rouse-{:016x}", rand::random::<u64>()));
        let mut command = owner.shell(SCRIPT, [&dir]);
        command.stdin(Stdio::piped());
        let shell = command.spawn().map_err(EmbeddedError::io("run", "/bin/sh"))?;
        let mut watcher = Self { shell };
        let begin = Instant::now();
        while !dir.is_dir() {
            let ended = watcher.shell.try_wait().map_err(EmbeddedError::io("wait for", "/bin/sh"))?.is_some();
            if ended || begin.elapsed() > PATIENCE {
                return Err(EmbeddedError::io("create", dir)(std::io::ErrorKind::PermissionDenied.into()));
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok((watcher, Home { dir, owner }))
    }

    /// Lets the shell do its work and waits for it.
    pub(super) async fn finish(mut self) {
        drop(self.shell.stdin.take());
        let begin = Instant::now();
        while matches!(self.shell.try_wait(), Ok(None)) && begin.elapsed() < PATIENCE {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        drop(self.shell.stdin.take()); // it does its work without us
    }
}

/// `parent`, or `/tmp` when it cannot be used.
async fn parent_for(owner: &Owner, parent: &Path) -> Result<PathBuf, EmbeddedError> {
    let fallback = PathBuf::from("/tmp");
    let Ok(parent) = parent.canonicalize() else { return Ok(fallback) };
    let fits = fits_socket(&parent.join("rouse-0123456789abcdef"));
    let usable = fits && owner.run(r#"[ -w "$1" ] && [ -x "$1" ]"#, [&parent]).await?.0;
    Ok(if usable { parent } else { fallback })
}
