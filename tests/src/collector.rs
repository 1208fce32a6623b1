//! A collector of traces, in a program of its own that decodes them with other people's code (`tests/collector.py`).

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::process::{Process, Scratch, wait_for};
use crate::root;

/// Python's start on a machine with other work.
const STARTS: Duration = Duration::from_secs(30);

/// The program, which runs as long as the test does.
#[derive(Debug)]
pub struct Collector {
    process: Process,
}

impl Collector {
    /// A collector at a loopback port.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(scratch: &Scratch, port: u16) -> Collector {
        let mut python = Command::new(root().join("target/python/bin/python"));
        python.arg(root().join("tests/collector.py")).arg(port.to_string());
        let collector = Collector { process: Process::start("collector", python, scratch) };
        wait_for("the collector", STARTS, || {
            collector.lines().iter().any(|line| line["listens"] == true).then_some(())
        });
        collector
    }

    /// Every span that it has decoded, in the order in which they came.
    pub fn spans(&self) -> Vec<Value> {
        self.lines().into_iter().filter(|line| line["trace"].is_string()).collect()
    }

    /// What it was shown as `Authorization`, request by request.
    pub fn authorizations(&self) -> Vec<Value> {
        self.lines().into_iter().filter_map(|line| line.get("authorization").cloned()).collect()
    }

    fn lines(&self) -> Vec<Value> {
        let log = self.process.log();
        let read = |line: &str| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: the collector says\n{log}"))
        };
        // The last line may be half written.
        let whole = log.rfind('\n').map_or("", |end| log.get(..end).unwrap_or_default());
        whole.lines().map(read).collect()
    }
}
