//! One external command: shown before it runs, its failure turned into one line.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Why a command of ours stopped: one line for the person in front of it.
#[derive(Debug)]
pub(crate) struct Failure(String);

impl Failure {
    /// A failure that reads `reason`.
    pub(crate) fn new(reason: impl Into<String>) -> Failure {
        Failure(reason.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An external command in the workspace's root folder, without input.
pub(crate) struct Step {
    line: String,
    command: Command,
}

impl Step {
    /// `program`, looked up in PATH.
    pub(crate) fn new(program: &str) -> Step {
        let mut command = Command::new(program);
        command.current_dir(crate::root()).stdin(Stdio::null());
        Step { line: program.to_owned(), command }
    }

    /// The cargo that runs us, with these arguments.
    pub(crate) fn cargo(arguments: &[&str]) -> Step {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
        let mut command = Command::new(cargo);
        command.current_dir(crate::root()).stdin(Stdio::null());
        Step { line: "cargo".to_owned(), command }.args(arguments)
    }

    /// One more argument.
    pub(crate) fn arg(mut self, argument: &str) -> Step {
        self.line.push(' ');
        self.line.push_str(argument);
        self.command.arg(argument);
        self
    }

    /// More arguments.
    pub(crate) fn args(self, arguments: &[&str]) -> Step {
        arguments.iter().fold(self, |step, argument| step.arg(argument))
    }

    /// One more environment variable.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Step {
        self.line = format!("{name}='{value}' {}", self.line);
        self.command.env(name, value);
        self
    }

    /// Another folder than the root.
    pub(crate) fn folder(mut self, folder: PathBuf) -> Step {
        self.command.current_dir(folder);
        self
    }

    /// Runs it with our own output; an exit status other than 0 is a failure.
    pub(crate) fn run(mut self) -> Result<(), Failure> {
        println!("+ {}", self.line);
        let status = self.command.status().map_err(|error| Failure(format!("{}: {error}", self.line)))?;
        if status.success() { Ok(()) } else { Err(Failure(format!("{}: {status}", self.line))) }
    }

    /// Runs it silently and returns what it printed to standard output; its exit status must be 0.
    pub(crate) fn read(mut self) -> Result<String, Failure> {
        let output = self.command.output().map_err(|error| Failure(format!("{}: {error}", self.line)))?;
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr);
            return Err(Failure(format!("{}: {}: {}", self.line, output.status, stderr.trim())));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs it silently and returns what it printed to standard error; its exit status must be 0.
    pub(crate) fn read_errors(mut self) -> Result<String, Failure> {
        let output = self.command.output().map_err(|error| Failure(format!("{}: {error}", self.line)))?;
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() {
            Ok(errors)
        } else {
            Err(Failure(format!("{}: {}: {errors}", self.line, output.status)))
        }
    }

    /// Whether it can be started and exits with status 0; prints nothing.
    pub(crate) fn succeeds(self) -> bool {
        self.read().is_ok()
    }
}
