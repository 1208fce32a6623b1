//! What the operating system is asked: descriptors for many connections, and what the server's processes use.

use std::fs;
use std::path::PathBuf;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;

use crate::Error;

/// Descriptors beside those of the connections.
const DESCRIPTORS_BESIDE: u64 = 64;

/// Makes room for so many connections at a time.
///
/// # Errors
/// [`Error::System`] when the hard limit is lower and may not be raised.
pub fn make_room(connections: usize) -> Result<(), Error> {
    let wanted = u64::try_from(connections).unwrap_or(u64::MAX).saturating_add(DESCRIPTORS_BESIDE);
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    let maximum = limit.maximum.map(|maximum| maximum.max(wanted));
    setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }).map_err(|error| Error::System {
        what: format!("{wanted} open files (the hard limit is {:?})", limit.maximum),
        error: error.into(),
    })
}

/// What a server uses now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Memory that is present, KiB.
    pub rss_kib: u64,
    /// CPU time so far, user and system, µs.
    pub cpu_us: u64,
}

impl Usage {
    fn add(&mut self, other: Usage) {
        self.rss_kib += other.rss_kib;
        self.cpu_us += other.cpu_us;
    }
}

/// Of process `pid` and all that it has started, threads and processes, as far as they still run; `None` where there is no /proc, or
/// no such process.
pub fn usage(pid: u32) -> Option<Usage> {
    let mut sum = of_process(pid)?;
    for child in children(pid) {
        // One that has just ended is no part of it any more.
        sum.add(usage(child).unwrap_or_default());
    }
    Some(sum)
}

fn of_process(pid: u32) -> Option<Usage> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let cpu_ns: u64 =
        tasks(pid)?.filter_map(|task| on_cpu_ns(&fs::read_to_string(task.join("schedstat")).ok()?)).sum();
    Some(Usage { rss_kib: rss_kib(&status)?, cpu_us: cpu_ns / 1_000 })
}

/// The folders of a process's threads.
fn tasks(pid: u32) -> Option<impl Iterator<Item = PathBuf>> {
    Some(fs::read_dir(format!("/proc/{pid}/task")).ok()?.filter_map(|entry| Some(entry.ok()?.path())))
}

fn children(pid: u32) -> Vec<u32> {
    let lists =
        tasks(pid).into_iter().flatten().filter_map(|task| fs::read_to_string(task.join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>())
        .collect()
}

fn rss_kib(status: &str) -> Option<u64> {
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix("kB")?.trim().parse().ok())
}

/// The first field: time on a CPU in ns, where /proc/PID/stat has only ticks of 10 ms.
fn on_cpu_ns(schedstat: &str) -> Option<u64> {
    schedstat.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_linux_says() {
        assert_eq!(rss_kib("Name:\tx\nVmRSS:\t   12345 kB\nVmSwap: 0 kB\n"), Some(12_345));
        assert_eq!(on_cpu_ns("1750000 3000 12\n"), Some(1_750_000));
        assert!(usage(std::process::id()).is_some_and(|usage| usage.rss_kib > 100 && usage.cpu_us > 0));
        assert_eq!(usage(u32::MAX), None);
    }

    #[test]
    fn what_a_process_started_counts() {
        let mut shell =
            std::process::Command::new("sh").args(["-c", "(while :; do :; done) & wait"]).spawn().unwrap();
        let pid = shell.id();
        // The shell itself waits; only what it started is busy.
        while usage(pid).is_some_and(|usage| usage.cpu_us < 50_000) {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let (tree, alone) = (usage(pid), of_process(pid));
        for child in children(pid) {
            std::process::Command::new("kill").arg(child.to_string()).status().unwrap();
        }
        shell.wait().unwrap();
        assert!(alone.unwrap().cpu_us < tree.unwrap().cpu_us);
    }

    #[test]
    fn room_for_what_is_there_already() {
        make_room(10).unwrap();
    }
}
