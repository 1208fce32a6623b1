//! `cargo xtask test`: one compilation, then every test program, the real-time ones beside one another where that is safe.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::run::{Failure, Step};
use crate::{deps, root};

/// The integration tests that mostly wait for a minute of media to pass; they run at the same time.
const MINUTE_LONG: &[&str] = &["fidelity", "playlist_minute", "obs"];

/// The package of the integration tests with real encoders and players.
const INTEGRATION: &str = "headwater-tests";

/// Real encoders and players share two cores: with more of them at a time they would stall one another, not us.
const INTEGRATION_THREADS: &str = "2";

/// No test program takes longer; one that hangs must fail the run and not hold a CI machine until somebody looks.
const PROGRAM_SECONDS_MAX: u64 = 600;

/// How long a test program may take to end its children after it was told to stop.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// A compiled test program.
struct Program {
    package: String,
    /// The target's name: `fidelity`, or the crate's name for its unit tests.
    name: String,
    executable: PathBuf,
    folder: PathBuf,
}

/// A test program that is running, its output kept in a file.
struct Running<'a> {
    program: &'a Program,
    child: Child,
    log: PathBuf,
    started: Instant,
}

/// Installs what is needed, builds once, runs every test program (or those whose name contains `filter`).
pub(crate) fn run(filter: Option<&str>) -> Result<(), Failure> {
    let started = Instant::now();
    deps::install()?;
    Step::cargo(&["build", "--locked", "--package", "headwater-origin", "--bin", "headwater"]).run()?;
    let mut programs = build()?;
    if let Some(filter) = filter {
        programs.retain(|program| program.name.contains(filter));
        if programs.is_empty() {
            return Err(Failure::new(format!("no test program's name contains {filter}")));
        }
    }
    let (integration, fast): (Vec<_>, Vec<_>) =
        programs.iter().partition(|program| program.package == INTEGRATION);
    let (minute_long, others): (Vec<_>, Vec<_>) =
        integration.into_iter().partition(|program| MINUTE_LONG.contains(&program.name.as_str()));

    let mut failed = Vec::new();
    for program in fast {
        failed.extend(run_together(&[program])?);
    }
    if filter.is_none()
        && Step::cargo(&["test", "--workspace", "--locked", "--doc", "--quiet"]).run().is_err()
    {
        failed.push("documentation examples".to_owned());
    }
    failed.extend(run_together(&minute_long)?);
    for program in others {
        failed.extend(run_together(&[program])?);
    }

    let seconds = started.elapsed().as_secs();
    if failed.is_empty() {
        println!("xtask: all tests passed in {} min {} s", seconds / 60, seconds % 60);
        Ok(())
    } else {
        Err(Failure::new(format!("tests failed after {seconds} s: {}", failed.join(", "))))
    }
}

/// Compiles every test of the workspace and returns the programs in the order of their names.
fn build() -> Result<Vec<Program>, Failure> {
    println!("+ cargo test --workspace --locked --no-run");
    let format = "--message-format=json-render-diagnostics";
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["test", "--workspace", "--locked", "--no-run", format]).current_dir(root());
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| Failure::new(format!("cargo test --no-run: {error}")))?;
    if !output.status.success() {
        return Err(Failure::new("the tests do not compile"));
    }
    let stdout = String::from_utf8_lossy(&output.stdout);
    let mut programs: Vec<Program> = stdout.lines().filter_map(program).collect();
    programs.sort_by(|a, b| (&a.package, &a.name).cmp(&(&b.package, &b.name)));
    Ok(programs)
}

/// The test program that a line of cargo's JSON messages announces, if it announces one.
fn program(line: &str) -> Option<Program> {
    let message: serde_json::Value = serde_json::from_str(line).ok()?;
    if message["reason"] != "compiler-artifact" || message["profile"]["test"] != true {
        return None;
    }
    let executable = message["executable"].as_str()?;
    let folder = PathBuf::from(message["manifest_path"].as_str()?).parent()?.to_path_buf();
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).ok()?;
    let package =
        manifest.lines().find_map(|line| line.strip_prefix("name = "))?.trim_matches('"').to_owned();
    let name = message["target"]["name"].as_str()?.to_owned();
    Some(Program { package, name, executable: PathBuf::from(executable), folder })
}

/// Runs `programs` at the same time and returns the names of those that failed.
fn run_together(programs: &[&Program]) -> Result<Vec<String>, Failure> {
    let mut running = Vec::new();
    for program in programs {
        running.push(start(program)?);
    }
    let mut failed = Vec::new();
    for process in running {
        let name = format!("{}/{}", process.program.package, process.program.name);
        let passed = finish(process)?;
        if !passed {
            failed.push(name);
        }
    }
    Ok(failed)
}

fn start(program: &Program) -> Result<Running<'_>, Failure> {
    let logs = root().join("target/test-output");
    let log = logs.join(format!("{}-{}.log", program.package, program.name));
    let failure = |error: std::io::Error| Failure::new(format!("{}: {error}", log.display()));
    std::fs::create_dir_all(&logs).map_err(failure)?;
    let output = File::create(&log).map_err(failure)?;
    let errors = output.try_clone().map_err(failure)?;
    let mut command = Command::new(&program.executable);
    // As `cargo test` would start it.
    command.current_dir(&program.folder).env("CARGO_MANIFEST_DIR", &program.folder);
    command.env("CARGO_PKG_NAME", &program.package).stdin(Stdio::null()).stdout(output).stderr(errors);
    if program.package == INTEGRATION {
        command.args(["--test-threads", INTEGRATION_THREADS]);
    }
    // A group of its own, so that stopping it stops the encoders and players that it started.
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let child = command
        .spawn()
        .map_err(|error| Failure::new(format!("{}: {error}", program.executable.display())))?;
    Ok(Running { program, child, log, started: Instant::now() })
}

/// Waits for the end of a test program, prints what it printed, and says whether it passed.
fn finish(mut process: Running<'_>) -> Result<bool, Failure> {
    let bound = Duration::from_secs(PROGRAM_SECONDS_MAX);
    let mut hung = false;
    let status = loop {
        if let Some(status) = process.child.try_wait().map_err(|error| Failure::new(error.to_string()))? {
            break status;
        }
        let elapsed = process.started.elapsed();
        if elapsed > bound {
            hung = true;
            signal_group("TERM", &process.child);
        }
        if elapsed > bound + STOP_GRACE {
            signal_group("KILL", &process.child);
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let seconds = process.started.elapsed().as_secs_f32();
    let Program { package, name, .. } = process.program;
    let passed = status.success() && !hung;
    let text = std::fs::read(&process.log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    if passed {
        // The lines that count: "test result: ok. 12 passed; ...".
        let result = text.lines().rfind(|line| line.starts_with("test result:")).unwrap_or("no tests");
        println!("  {package}/{name}: {seconds:.1} s: {}", result.trim_start_matches("test result: "));
    } else {
        println!("{text}");
        let why = if hung { format!("stopped after {PROGRAM_SECONDS_MAX} s") } else { status.to_string() };
        println!("  {package}/{name}: {seconds:.1} s: FAILED ({why})");
    }
    Ok(passed)
}

fn signal_group(signal: &str, leader: &Child) {
    // The leader has not been waited for, so its number cannot belong to anybody else.
    let group = format!("-{}", leader.id());
    let _ = Command::new("kill").args([&format!("-{signal}"), "--", &group]).status();
}
