//! `cargo xtask test`: one compilation, then every test program, the real-time ones beside one another where that is safe.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::run::{Failure, Step};
use crate::{deb, deps, machine, root};

/// The integration tests that mostly wait for a minute of media to pass.
const MINUTE_LONG: &[&str] = &["fidelity", "playlist_minute", "obs"];

/// Those that mostly wait for files to be sent and for playlists to move on, and judge nobody's timing.
const PATIENT: &[&str] = &[
    "api",
    "auth",
    "events",
    "formats",
    "metrics",
    "packaging",
    "packaging_boot",
    "probe",
    "proxies",
    "restart",
    "supervised",
    "takeover",
    "telemetry",
];

/// Those with players that mostly play, the longest first: two programs at the same time, and some of the patient ones.
const PLAYING: &[&str] = &[
    "players_cmaf",
    "continuous",
    "players",
    "page",
    "zero_downtime",
    "low_latency_minute",
    "players_low_latency",
    "metadata",
    "limits",
    "tls",
    "reload",
];

/// Attacks and crowds, each on a server of its own.
const HOSTILE: &[&str] = &["churn", "hostile", "hostile_http", "soak"];

/// The machine. Programs run at the same time as far as their shares of it go.
const SHARES: u32 = 12;

/// What a program takes of the machine. The rest has it alone: `publishers`, for an encoder that must share its core stamps pictures as late as it
/// makes them; `caches` and `held_memory`, which measure what a crowd costs and how late it is served; `faults`, with eighteen players in two scenes.
fn share(program: &Program) -> u32 {
    let shares = [(MINUTE_LONG, 4), (PATIENT, 1), (PLAYING, 5), (HOSTILE, 3)];
    let of = |names: &[&str]| program.package == INTEGRATION && names.contains(&program.name.as_str());
    shares.iter().find(|(names, _)| of(names)).map_or(SHARES, |(_, share)| *share)
}

/// Those that judge the timing of encoders and players nobody here wrote, which a shared machine that stands still for a second spoils.
/// A test of theirs that fails is judged again when everything else is over, one test at a time; one that fails then as well
/// has failed. Nothing else gets a second chance, and the run says who needed one. Not `faults`: it judges again by itself, player by player.
const SECOND_CHANCE: &[&str] = &[
    "caches",
    "continuous",
    "low_latency_minute",
    "obs",
    "page",
    "players",
    "players_cmaf",
    "players_low_latency",
    "publishers",
    "zero_downtime",
];

/// The package of the integration tests with real encoders and players.
const INTEGRATION: &str = "headwater-tests";

/// Real encoders and players share two cores: with more of them at a time they would stall one another, not us.
const INTEGRATION_THREADS: &str = "2";

/// No test program takes longer; one that hangs must fail the run and not hold a CI machine until somebody looks.
const PROGRAM_SECONDS_MAX: u64 = 900;

/// So much of a panic's message is repeated at the end: the values that an assertion compares can be whole playlists.
const PANIC_LINES_MAX: usize = 12;

const PANIC_COLUMNS_MAX: usize = 300;

/// How often it is looked whether a program has ended.
const LOOK: Duration = Duration::from_millis(20);

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
    /// Of its tests only these; none named: all.
    tests: Vec<String>,
    child: Child,
    log: PathBuf,
    started: Instant,
    was_stopped: bool,
}

/// A program whose tests did not all pass.
struct Failed<'a> {
    name: String,
    /// Which of a program's tests may be judged again, see [`SECOND_CHANCE`].
    again: Option<(&'a Program, Vec<String>)>,
    /// Where and why its tests panicked.
    panics: Vec<String>,
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
    let mut left_out = None;
    if programs.iter().any(|program| program.name == machine::TEST) {
        match machine::prepare()? {
            Ok(()) => deb::for_tests()?,
            Err(why) => {
                programs.retain(|program| program.name != machine::TEST);
                if programs.is_empty() {
                    return Err(Failure::new(format!("{} is not run: {why}", machine::TEST)));
                }
                left_out = Some(why);
            }
        }
    }
    let (integration, fast): (Vec<_>, Vec<_>) =
        programs.iter().partition(|program| program.package == INTEGRATION);
    let (hostile, others): (Vec<_>, Vec<_>) =
        integration.into_iter().partition(|program| HOSTILE.contains(&program.name.as_str()));
    let (alone, mut beside): (Vec<_>, Vec<_>) =
        others.into_iter().partition(|program| share(program) == SHARES);
    // The longest first, so that none of them is left at the end with the machine to itself.
    let place = |program: &Program| PLAYING.iter().position(|name| *name == program.name);
    beside.sort_by_key(|program| place(program).unwrap_or(PLAYING.len()));

    let mut failed = run_all(&fast)?;
    if filter.is_none()
        && Step::cargo(&["test", "--workspace", "--locked", "--doc", "--quiet"]).run().is_err()
    {
        failed.push(Failed { name: "documentation examples".to_owned(), again: None, panics: Vec::new() });
    }
    for programs in [beside, hostile, alone] {
        failed.extend(run_all(&programs)?);
    }

    let failed = judge_again(failed)?;

    let seconds = started.elapsed().as_secs();
    // At the end, where somebody sees it: what was not run has not passed.
    if let Some(why) = left_out {
        eprintln!("xtask: {} was NOT RUN: {why}", machine::TEST);
    }
    if failed.is_empty() {
        println!("xtask: all tests passed in {} min {} s", seconds / 60, seconds % 60);
        return Ok(());
    }
    // What a failing program printed is far above by now, and may be more than a CI service shows: the reasons come last.
    failed.iter().for_each(tell);
    let names: Vec<&str> = failed.iter().map(|failed| failed.name.as_str()).collect();
    Err(Failure::new(format!("tests failed after {seconds} s: {}", names.join(", "))))
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

/// Prints who failed and why.
fn tell(failed: &Failed<'_>) {
    println!("xtask: {} failed", failed.name);
    failed.panics.iter().for_each(|panic| println!("{panic}"));
}

/// Runs the tests that may be judged again, one at a time, and returns what has failed all the same.
fn judge_again(failed: Vec<Failed<'_>>) -> Result<Vec<Failed<'_>>, Failure> {
    let mut remaining = Vec::new();
    for first in failed {
        let Some((program, tests)) = first.again.clone() else {
            remaining.push(first);
            continue;
        };
        tell(&first);
        println!("xtask: once more, with the machine to itself: {}", tests.join(", "));
        let mut process = start(program, tests)?;
        let ended = loop {
            if let Some(ended) = process.poll()? {
                break ended;
            }
            std::thread::sleep(LOOK);
        };
        let second = finish(&process, &ended);
        if second.is_none() {
            println!("xtask: {} passed this time", program.name);
        }
        remaining.extend(second);
    }
    Ok(remaining)
}

/// Runs programs, in this order and as many at the same time as their shares of the machine let it. Returns those that failed.
fn run_all<'a>(programs: &[&'a Program]) -> Result<Vec<Failed<'a>>, Failure> {
    let mut waiting = programs.to_vec();
    let mut running: Vec<Running<'_>> = Vec::new();
    let mut failed = Vec::new();
    while !(waiting.is_empty() && running.is_empty()) {
        let taken: u32 = running.iter().map(|running| share(running.program)).sum();
        let fits = |program: &&Program| taken + share(program) <= SHARES;
        if let Some(next) = waiting.iter().position(fits) {
            running.push(start(waiting.remove(next), Vec::new())?);
            continue;
        }
        std::thread::sleep(LOOK);
        let mut still = Vec::new();
        for mut process in running {
            match process.poll()? {
                Some(ended) => failed.extend(finish(&process, &ended)),
                None => still.push(process),
            }
        }
        running = still;
    }
    Ok(failed)
}

/// Starts a test program: all of its tests, or those that are named.
fn start(program: &Program, tests: Vec<String>) -> Result<Running<'_>, Failure> {
    let logs = root().join("target/test-output");
    let again = if tests.is_empty() { "" } else { "-again" };
    let log = logs.join(format!("{}-{}{again}.log", program.package, program.name));
    let failure = |error: std::io::Error| Failure::new(format!("{}: {error}", log.display()));
    std::fs::create_dir_all(&logs).map_err(failure)?;
    let output = File::create(&log).map_err(failure)?;
    let errors = output.try_clone().map_err(failure)?;
    let mut command = Command::new(&program.executable);
    // As `cargo test` would start it.
    command.current_dir(&program.folder).env("CARGO_MANIFEST_DIR", &program.folder);
    command.env("CARGO_PKG_NAME", &program.package).stdin(Stdio::null()).stdout(output).stderr(errors);
    if program.package == INTEGRATION {
        let threads = if tests.is_empty() { INTEGRATION_THREADS } else { "1" };
        command.args(["--test-threads", threads]);
    }
    if !tests.is_empty() {
        // Players that ran at the same time before run one behind the other now.
        command.arg("--exact").args(&tests).env("HEADWATER_TESTS_ALONE", "1");
    }
    // A group of its own, so that stopping it stops the encoders and players that it started.
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let child = command
        .spawn()
        .map_err(|error| Failure::new(format!("{}: {error}", program.executable.display())))?;
    Ok(Running { program, tests, child, log, started: Instant::now(), was_stopped: false })
}

/// How a test program ended.
struct Ended {
    status: ExitStatus,
    /// It was stopped because it took too long.
    hung: bool,
    took: Duration,
}

impl Running<'_> {
    /// How it ended, if it has. One that takes too long is told to.
    fn poll(&mut self) -> Result<Option<Ended>, Failure> {
        let bound = Duration::from_secs(PROGRAM_SECONDS_MAX);
        let took = self.started.elapsed();
        if let Some(status) = self.child.try_wait().map_err(|error| Failure::new(error.to_string()))? {
            return Ok(Some(Ended { status, hung: self.was_stopped, took }));
        }
        if took > bound + STOP_GRACE {
            signal_group("KILL", &self.child);
        } else if took > bound && !self.was_stopped {
            self.was_stopped = true;
            signal_group("TERM", &self.child);
        }
        Ok(None)
    }
}

/// Prints a test program's result; when it failed, all that it printed.
fn finish<'a>(process: &Running<'a>, ended: &Ended) -> Option<Failed<'a>> {
    let Ended { status, hung, took } = *ended;
    let seconds = took.as_secs_f32();
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
        let tests = failed_tests(&text);
        let second_chance = package == INTEGRATION && SECOND_CHANCE.contains(&name.as_str());
        let first_time = process.tests.is_empty() && !tests.is_empty() && !hung;
        let again = (second_chance && first_time).then_some((process.program, tests));
        return Some(Failed { name: format!("{package}/{name} ({why})"), again, panics: panics(&text) });
    }
    None
}

/// The names of the tests that failed, from a test program's output.
fn failed_tests(output: &str) -> Vec<String> {
    let failed = output.lines().filter_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"));
    failed.map(str::to_owned).collect()
}

/// The messages of the panics in a test program's output: each from its place to the next empty line, shortened. Of those that one
/// thread had at one place, as a property test has while it looks for a smaller case, only the last.
fn panics(output: &str) -> Vec<String> {
    let lines: Vec<&str> = output.lines().collect();
    let is_start = |line: &str| line.starts_with("thread '") && line.contains("panicked at ");
    let starts = lines.iter().enumerate().filter(|(_, line)| is_start(line));
    let is_last = |start: usize, line: &str| !lines.iter().skip(start + 1).any(|later| *later == line);
    starts
        .filter(|(start, line)| is_last(*start, line))
        .map(|(start, _)| {
            let message = lines.iter().skip(start).take(PANIC_LINES_MAX).take_while(|line| !line.is_empty());
            let shortened = message.map(|line| line.chars().take(PANIC_COLUMNS_MAX).collect::<String>());
            shortened.collect::<Vec<_>>().join("\n")
        })
        .collect()
}

fn signal_group(signal: &str, leader: &Child) {
    // The leader has not been waited for, so its number cannot belong to anybody else.
    let group = format!("-{}", leader.id());
    let _ = Command::new("kill").args([&format!("-{signal}"), "--", &group]).status();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_of_a_program() {
        for name in [MINUTE_LONG, PATIENT, PLAYING, HOSTILE, SECOND_CHANCE].concat() {
            let source = root().join(format!("tests/tests/{name}.rs"));
            assert!(source.is_file(), "{name}");
        }
    }

    #[test]
    fn the_digest_of_a_failing_program_says_where_and_why() {
        let output = "running 1 test\n---- plays stdout ----\nPlayback { .. }\n\nthread 'plays' (7) panicked at a.rs:1:2:\n\
                      VLC stalled: [\"x\"]\nnote: run with `RUST_BACKTRACE=1`\n\nfailures:\n    plays\n";
        let panics = panics(output);
        let [panic] = panics.as_slice() else { panic!("{panics:?}") };
        assert!(panic.starts_with("thread 'plays' (7) panicked at a.rs:1:2:\nVLC stalled"), "{panic}");
        assert!(!panic.contains("failures"), "{panic}");
        let twice = format!("{output}{}", output.replace('x', "y"));
        assert_eq!(self::panics(&twice).len(), 1, "the same place again");
        assert!(self::panics(&twice)[0].contains("[\"y\"]"), "the last of them");
        assert_eq!(panics_of_long_line().chars().count(), PANIC_COLUMNS_MAX);
    }

    #[test]
    fn the_tests_that_failed_are_known_by_name() {
        let output = "running 3 tests\ntest a ... ok\ntest b::c has been running for over 60 seconds\ntest b::c ... FAILED\n\
                      test d ... FAILED\n\nfailures:\n    d\n";
        assert_eq!(failed_tests(output), ["b::c", "d"]);
    }

    fn panics_of_long_line() -> String {
        panics(&format!("thread 'x' panicked at {}", "y".repeat(5_000))).concat()
    }
}
