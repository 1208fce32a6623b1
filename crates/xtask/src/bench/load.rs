//! `headwater-load`, run to its end, and what it reports.

use std::process::{Command, Stdio};

use serde_json::Value;

use super::servers::Running;
use crate::root;
use crate::run::Failure;

/// A report, read by dotted paths.
pub(super) struct Report(Value);

impl Report {
    /// A number in it.
    pub(super) fn number(&self, path: &str) -> Result<f64, Failure> {
        let value = path.split('.').fold(&self.0, |value, key| match key.parse::<usize>() {
            Ok(index) => &value[index],
            Err(_) => &value[key],
        });
        value.as_f64().ok_or_else(|| Failure::new(format!("no {path} in the load's report: {}", self.0)))
    }
}

/// Runs it against a server, where that is.
pub(super) fn run(server: &Running, arguments: &[&str]) -> Result<Report, Failure> {
    let (line, mut command) = command(server, arguments);
    let output = command.output().map_err(|error| Failure::new(format!("{line}: {error}")))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        return Err(Failure::new(format!("{line}: {}", errors.lines().last().unwrap_or_default())));
    }
    let report = serde_json::from_slice(&output.stdout);
    report.map(Report).map_err(|error| Failure::new(format!("{line}: {error}")))
}

/// The command, not yet started, and how it reads.
pub(super) fn command(server: &Running, arguments: &[&str]) -> (String, Command) {
    let load = root().join("target/release/headwater-load").to_string_lossy().into_owned();
    let mut words = server.inside();
    words.push(load);
    words.extend(arguments.iter().map(|argument| (*argument).to_owned()));
    words.push("--json".to_owned());
    let mut command = Command::new(words.first().map_or("", String::as_str));
    command.args(words.iter().skip(1)).stdin(Stdio::null());
    (words.join(" "), command)
}
