//! The project's own commands, `cargo xtask COMMAND`: what a contributor and CI run, so that both run the same.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool: printing is its job")]

mod bench;
mod cost;
mod deb;
mod deps;
mod fuzz;
mod image;
mod latency;
mod machine;
mod run;
mod soak;
mod test;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use run::{Failure, Step};

const USAGE: &str = "\
usage: cargo xtask COMMAND

  check            formatting, clippy, documentation and tidiness: what CI runs before the tests
  test [FILTER]    installs what the tests need, then runs every test; FILTER: only test programs whose name contains it
  deps             installs what the tests need (apt, npm), or says what is missing and how to install it
  tidy             the project's own rules about files
  fuzz [SECONDS] [TARGET]
                   every fuzz target, or one, for so many seconds each (default 120)
  bench [OPTIONS]  what Headwater costs beside other servers; instructions: against stored counts; --help tells more
  cost             what a stream costs in CPU time, with MPEG-TS alone and with CMAF beside it
  latency [--seconds N] [--only TEXT] [--json]
                   how far behind the camera each player is, and how long the server itself takes for a part
  soak [--minutes N] [--streams M]
                   sixty simulated days; churn; M healthy streams beside everything hostile for N minutes (default 5
                   minutes, 10 streams)
  deb              the Debian package, unpacked and tried; cargo-deb is built for it once
  image [--pull]   the container image, built by podman and tried; its base images are made here, --pull takes the real ones
  media            makes the clips of sample-media/ anew";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments.as_slice() {
        ["check"] => check(),
        ["test"] => test::run(None),
        ["test", filter] => test::run(Some(filter)),
        ["deps"] => deps::install(),
        ["tidy"] => tidy::run(),
        ["fuzz"] => fuzz::run(fuzz::SECONDS_DEFAULT, None),
        ["fuzz", seconds] => fuzz_arguments(seconds, None),
        ["fuzz", seconds, target] => fuzz_arguments(seconds, Some(target)),
        ["bench", options @ ..] => bench::run(options),
        ["cost"] => cost::run(),
        ["latency", options @ ..] => latency::run(options),
        ["soak", options @ ..] => soak::run(options),
        ["deb"] => deb::run(),
        ["image", options @ ..] => image::run(options),
        ["media"] => Step::new("bash").arg("sample-media/make.sh").run(),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn fuzz_arguments(seconds: &str, target: Option<&str>) -> Result<(), Failure> {
    let seconds = seconds.parse().map_err(|_| Failure::new(format!("not a number of seconds: {seconds}")))?;
    fuzz::run(seconds, target)
}

/// Everything but the tests. Goes on after a failure, so that one run shows all there is to mend.
fn check() -> Result<(), Failure> {
    let mut failed = Vec::new();
    let mut note = |name: &str, outcome: Result<(), Failure>| {
        if let Err(failure) = outcome {
            eprintln!("xtask: {failure}");
            failed.push(name.to_owned());
        }
    };
    note("tidy", tidy::run());
    note("fmt", Step::cargo(&["fmt", "--all", "--check"]).run());
    note("fmt (fuzz)", Step::cargo(&["fmt", "--manifest-path", "crates/fuzz/Cargo.toml", "--check"]).run());
    let clippy = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
    note("clippy", Step::cargo(&clippy).run());
    let doc = ["doc", "--workspace", "--no-deps", "--document-private-items", "--locked"];
    note("doc", Step::cargo(&doc).env("RUSTDOCFLAGS", "-D warnings").run());
    if failed.is_empty() {
        println!("xtask: check passed");
        Ok(())
    } else {
        Err(Failure::new(format!("check failed: {}", failed.join(", "))))
    }
}

/// The workspace's root folder.
fn root() -> PathBuf {
    // Set by cargo when this program was compiled: <root>/crates/xtask.
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}
