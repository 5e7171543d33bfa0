//! Which Postgres, if any, runs on a data directory: its lock file `postmaster.pid`, and whether to believe it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::kill;
use nix::unistd::Pid;

/// A number no process ever has (Linux stops at 2^22), for a lock file whose process id was given to another program:
/// Postgres then sees that the owner is dead and makes its own further checks (shared memory still in use).
const NOBODYS_PID: i32 = i32::MAX;

/// What `postmaster.pid` says, checked against the running processes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// No lock file, or one that Postgres itself recognises as left over.
    Nothing,
    /// This process is a Postgres on this very directory. The socket directory is unknown while it starts.
    Running { pid: i32, socket_dir: Option<PathBuf> },
    /// The process id belongs to another program now; Postgres would take that for a running server.
    Stale,
}

pub(super) fn find(data: &Path) -> Found {
    let Ok(text) = std::fs::read_to_string(data.join("postmaster.pid")) else { return Found::Nothing };
    let Some((pid, socket_dir)) = parse(&text) else { return Found::Nothing };
    if is_postmaster(pid, data) {
        Found::Running { pid, socket_dir }
    } else if exists(pid) {
        Found::Stale
    } else {
        Found::Nothing
    }
}

/// The first line is the process id, the fifth the socket directory (Postgres source, `miscadmin.h`, `LOCK_FILE_LINE_*`).
fn parse(text: &str) -> Option<(i32, Option<PathBuf>)> {
    let mut lines = text.lines();
    let pid = lines.next()?.trim().parse().ok().filter(|pid| *pid > 0 && *pid != NOBODYS_PID)?;
    Some((pid, lines.nth(3).filter(|line| line.starts_with('/')).map(PathBuf::from)))
}

/// A script for [`super::owner::Owner::run`]: makes the lock files `$1...` name a process that cannot exist.
pub(super) fn disown_script() -> String {
    format!(
        r#"for file; do
            [ -f "$file" ] || continue
            {{ echo {NOBODYS_PID}; tail -n +2 "$file"; }} >"$file.new" && mv -f "$file.new" "$file" || exit 1
        done"#
    )
}

/// Whether this process is alive (not a zombie) and a Postgres that was started on this data directory.
pub(super) fn is_postmaster(pid: i32, data: &Path) -> bool {
    let data = data.as_os_str().as_bytes();
    if Path::new("/proc/self/cmdline").exists() {
        let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        return arguments.split(|byte| *byte == 0).any(|argument| argument == data);
    }
    let ps = Command::new("ps").args(["-ww", "-o", "command=", "-p", &pid.to_string()]).output();
    ps.is_ok_and(|ps| ps.stdout.windows(data.len().max(1)).any(|part| part == data))
}

fn exists(pid: i32) -> bool {
    kill(Pid::from_raw(pid), None) != Err(nix::errno::Errno::ESRCH)
}

/// The address `sqlx` and `libpq` understand. Everything but plain characters is percent-encoded.
pub(super) fn url(socket_dir: &str, database: &str) -> String {
    let host = OsStr::new(socket_dir).as_bytes().iter().fold(String::new(), |mut text, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => text.push(char::from(*byte)),
            _ => text.extend(['%', hex_digit(byte >> 4), hex_digit(byte & 15)]),
        }
        text
    });
    // The port is part of the socket's name; without it here, PGPORT of the environment would be used.
    format!("postgres://rouse@localhost:5432/{database}?host={host}")
}

fn hex_digit(value: u8) -> char {
    char::from_digit(value.into(), 16).unwrap_or('0').to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lock_files_are_read_from_the_first_moment_on() {
        let full = "4242\n/d/data\n1700000000\n5432\n/d/sock\n\n  5432001  12\nready   \n";
        assert_eq!(parse(full), Some((4242, Some(PathBuf::from("/d/sock")))));
        assert_eq!(parse("4242\n/d/data\n1700000000\n5432\n"), Some((4242, None)));
        assert_eq!(parse("4242\n/d/data\n1700000000\n5432\n\n\n"), Some((4242, None)));
        assert_eq!(parse("2147483647\n/d/data\n"), None);
        assert_eq!(parse(""), None);
        assert_eq!(parse("garbage"), None);
    }

    #[test]
    fn sqlx_understands_the_url() {
        use std::str::FromStr;
        let options = sqlx::postgres::PgConnectOptions::from_str(&url("/tmp/a b+c&d?/ü%", "rouse")).unwrap();
        assert_eq!(options.get_socket().unwrap(), Path::new("/tmp/a b+c&d?/ü%"));
        assert_eq!(options.get_username(), "rouse");
        assert_eq!(options.get_database(), Some("rouse"));
        assert_eq!(options.get_port(), 5432);
    }

    #[test]
    fn another_program_with_the_same_process_id_is_not_a_server() {
        let pid = i32::try_from(std::process::id()).unwrap();
        assert!(!is_postmaster(pid, Path::new("/some/data")));
        assert!(exists(pid));
        assert!(!exists(NOBODYS_PID));
    }
}
