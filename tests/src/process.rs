//! Processes that cannot outlive their test, scratch folders, and waiting for a condition with a bound.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Between two looks at a condition.
const POLL: Duration = Duration::from_millis(50);

/// Encoders and browsers get so long to end themselves before they are killed.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// A failing test shows so much of what each of its processes printed last.
const LOG_TAIL_BYTES: usize = 6_000;

/// Calls `condition` until it yields a value.
///
/// # Panics
/// When `bound` is over, naming `what` was waited for.
pub fn wait_for<T>(what: &str, bound: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(started.elapsed() < bound, "waited {bound:?} in vain for {what}");
        std::thread::sleep(POLL);
    }
}

/// A folder of one test below `target/test-scratch`, empty at the start and kept afterwards, to be looked at.
#[derive(Debug, Clone)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// The folder for the test that is called `name`; names are unique in the whole suite.
    pub fn new(name: &str) -> Scratch {
        let path = scratch_root().join(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("target/test-scratch can be written");
        Scratch(path)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A path in the folder.
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

/// `target/test-scratch` of the target folder that this test program was built into.
pub fn scratch_root() -> PathBuf {
    target_folder().join("test-scratch")
}

/// The target folder: the program is `<target>/<profile>/deps/<name>`.
pub fn target_folder() -> PathBuf {
    let program = std::env::current_exe().expect("the path of this test program");
    program.ancestors().nth(3).expect("test programs lie in target/<profile>/deps").to_path_buf()
}

/// A running program. Dropping it stops it; when the test is failing, what it printed is shown.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    status: Option<ExitStatus>,
}

impl Process {
    /// Starts `command` without input; standard output and error go to `<name>.log` in the test's folder.
    ///
    /// # Panics
    /// When the program cannot be started: it is part of `cargo xtask deps`, so a missing one is a failure.
    pub fn start(name: &str, command: Command, scratch: &Scratch) -> Process {
        Process::spawn(name, command, scratch, Stdio::null(), None)
    }

    /// As [`Process::start`], but with `output` as its standard output and a pipe as its input.
    pub fn start_piped(name: &str, command: Command, scratch: &Scratch, output: Stdio) -> Process {
        Process::spawn(name, command, scratch, Stdio::piped(), Some(output))
    }

    fn spawn(
        name: &str,
        mut command: Command,
        scratch: &Scratch,
        input: Stdio,
        output: Option<Stdio>,
    ) -> Process {
        let log = scratch.join(&format!("{name}.log"));
        let errors = File::create(&log).expect("a log file in the test's folder");
        let output = match output {
            Some(output) => output,
            None => errors.try_clone().expect("a second handle of the log file").into(),
        };
        command.stdin(input).stdout(output).stderr(errors);
        let child = command.spawn().unwrap_or_else(|error| {
            panic!("{:?} cannot be started ({error}); `cargo xtask deps` installs it", command.get_program())
        });
        Process { name: name.to_owned(), child, log, status: None }
    }

    /// The number that the system gave it.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its standard input, once.
    pub fn take_input(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// Its standard output, once, if it was started with a pipe there.
    pub fn take_output(&mut self) -> Option<std::process::ChildStdout> {
        self.child.stdout.take()
    }

    /// How it ended, if it ended.
    pub fn status(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().ok().flatten();
        }
        self.status
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it is still running after `bound`.
    pub fn wait(&mut self, bound: Duration) -> ExitStatus {
        let name = format!("the end of {}", self.name);
        wait_for(&name, bound, || self.status())
    }

    /// Sends a signal by its name ("TERM", "INT", "KILL", "STOP", "CONT").
    pub fn signal(&mut self, signal: &str) {
        if self.status().is_none() {
            // The child has not been waited for, so the number is still its own.
            let _ = Command::new("kill").arg(format!("-{signal}")).arg(self.id().to_string()).status();
        }
    }

    /// Asks it to end (SIGTERM) and waits; kills it when it does not.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.end_within(STOP_GRACE)
    }

    /// Ends it without a chance to say goodbye (SIGKILL).
    pub fn kill(&mut self) -> ExitStatus {
        self.end_within(Duration::ZERO)
    }

    /// Waits for its end, and kills it when `grace` is over.
    pub fn end_within(&mut self, grace: Duration) -> ExitStatus {
        let started = Instant::now();
        while started.elapsed() < grace {
            if let Some(status) = self.status() {
                return status;
            }
            std::thread::sleep(POLL);
        }
        let _ = self.child.kill();
        let status = self.child.wait().expect("a killed child can be waited for");
        *self.status.get_or_insert(status)
    }

    /// Everything it printed until now (only standard error when its output is a pipe).
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let ended = self.status();
        if std::thread::panicking() {
            let log = self.log();
            let start = log.len().saturating_sub(LOG_TAIL_BYTES);
            let tail = log.get(log.ceil_char_boundary(start)..).unwrap_or_default();
            eprintln!("--- {} ({}) printed:\n{tail}\n---", self.name, self.log.display());
        }
        if ended.is_none() {
            self.stop();
        }
    }
}

/// The last of what `command` printed, when it succeeded: for short programs such as ffprobe.
///
/// # Panics
/// When it cannot be started or fails.
pub fn read_output(mut command: Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| {
        panic!("{:?} cannot be started ({error}); `cargo xtask deps` installs it", command.get_program())
    });
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_process_is_gone() {
        let scratch = Scratch::new("process-dropped");
        let mut command = Command::new("sleep");
        command.arg("600");
        let mut process = Process::start("sleep", command, &scratch);
        let id = process.id();
        assert!(process.status().is_none());
        drop(process);
        assert!(!Path::new(&format!("/proc/{id}")).exists());
    }

    #[test]
    fn a_process_that_ignores_the_signal_is_killed() {
        let scratch = Scratch::new("process-deaf");
        let mut command = Command::new("sh");
        // The wait for "deaf" makes sure that the trap is set.
        command.args(["-c", "trap '' TERM; echo deaf; while :; do sleep 0.1; done"]);
        let mut process = Process::start("deaf", command, &scratch);
        wait_for("the trap", Duration::from_secs(5), || process.log().contains("deaf").then_some(()));
        assert!(!process.stop().success());
        assert!(process.status().is_some());
    }

    #[test]
    #[should_panic(expected = "in vain for nothing")]
    fn waiting_has_a_bound() {
        wait_for("nothing", Duration::ZERO, || None::<()>);
    }
}
