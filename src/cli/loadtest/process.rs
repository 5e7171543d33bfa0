//! What processes used, as the system tells it. Where there is no `/proc`, nothing is known.

use std::fs;

/// A clock tick of `/proc/PID/stat` (`USER_HZ`) is this many microseconds on all of Linux.
const TICK_US: u64 = 10_000;

/// The processor time of the parts of a run so far, in microseconds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cpu {
    pub(super) rouse: Option<u64>,
    pub(super) postgres: Option<u64>,
    pub(super) simulator: Option<u64>,
    pub(super) generator: Option<u64>,
}

impl Cpu {
    /// Reads all four.
    pub(super) fn read(rouse: i32, postmaster: Option<i32>, simulator: i32) -> Self {
        Self {
            rouse: own_us(rouse),
            postgres: postmaster.and_then(family_us),
            simulator: own_us(simulator),
            generator: self_us(),
        }
    }
}

/// The processor time of a process, in microseconds.
pub(super) fn own_us(pid: i32) -> Option<u64> {
    stat(&pid.to_string()).map(|stat| stat.own_us)
}

/// The same of this process.
pub(super) fn self_us() -> Option<u64> {
    stat("self").map(|stat| stat.own_us)
}

/// The same of a process and its children, those that ended too.
fn family_us(pid: i32) -> Option<u64> {
    let parent = stat(&pid.to_string())?;
    let names = fs::read_dir("/proc").ok()?.flatten().map(|entry| entry.file_name());
    let processes = names.filter_map(|name| name.to_str().filter(|name| name.parse::<i32>().is_ok()).and_then(stat));
    let children: u64 = processes.filter(|process| process.parent == pid).map(|child| child.own_us).sum();
    Some(parent.own_us + parent.ended_us + children)
}

struct Stat {
    parent: i32,
    own_us: u64,
    /// Of children that ended and were waited for.
    ended_us: u64,
}

fn stat(pid: &str) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The name in brackets may hold anything; the fields after it are numbered as in proc(5), from 3.
fn parse_stat(text: &str) -> Option<Stat> {
    let fields: Vec<&str> = text.rsplit_once(") ")?.1.split(' ').collect();
    let ticks = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(Stat {
        parent: fields.get(1)?.parse().ok()?,
        own_us: (ticks(14)? + ticks(15)?) * TICK_US,
        ended_us: (ticks(16)? + ticks(17)?) * TICK_US,
    })
}

/// The memory of a process in MiB: what it holds now.
pub(super) fn rss_mb(pid: i32) -> Option<f64> {
    status_mb(pid, "VmRSS:")
}

/// The most it ever held.
pub(super) fn rss_peak_mb(pid: i32) -> Option<f64> {
    status_mb(pid, "VmHWM:")
}

fn status_mb(pid: i32, field: &str) -> Option<f64> {
    kib_mb(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?, field)
}

/// A field of a file of `/proc` in kB, in MiB.
pub(super) fn kib_mb(text: &str, field: &str) -> Option<f64> {
    let value = text.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: f64 = value.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib / 1_024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_behind_a_name_with_brackets() {
        let stat = parse_stat("7 (a) b) S 5 7 7 0 -1 0 0 0 0 0 100 20 3 4 20 0 1").unwrap();
        assert_eq!((stat.parent, stat.own_us, stat.ended_us), (5, 1_200_000, 70_000));
        assert!(parse_stat("7 (short) S 5").is_none());
    }

    #[test]
    fn this_process_used_something() {
        if cfg!(target_os = "linux") {
            let pid = i32::try_from(std::process::id()).unwrap();
            // Each is read before what can only be more a moment later; the kernel sums a size up to a few pages late.
            let (held, own) = (rss_mb(pid).unwrap(), own_us(pid).unwrap());
            assert!(held > 1.0 && rss_peak_mb(pid).unwrap() > 0.9 * held);
            assert!(family_us(pid).unwrap() >= own);
        }
        assert_eq!(own_us(i32::MAX), None);
        assert_eq!(kib_mb("MemTotal:  2048 kB\n", "MemTotal:"), Some(2.0));
    }
}
