//! Runs the fuzz targets of `crates/fuzz` with cargo-fuzz, each from its committed seeds.

use crate::root;
use crate::run::{Failure, Step};

/// Per target: what a change has to survive before it is merged.
pub(crate) const SECONDS_DEFAULT: u32 = 120;

/// Runs every target, or `only` one, for `seconds` each. All are run even when one finds something.
pub(crate) fn run(seconds: u32, only: Option<&str>) -> Result<(), Failure> {
    if !Step::cargo(&["fuzz", "--version"]).succeeds() {
        Step::cargo(&["install", "cargo-fuzz", "--locked"]).run()?;
    }
    let targets: Vec<String> =
        targets()?.into_iter().filter(|target| only.is_none_or(|only| only == target)).collect();
    if targets.is_empty() {
        return Err(Failure::new("no such fuzz target"));
    }
    let mut findings = Vec::new();
    for target in &targets {
        if let Err(failure) = run_target(target, seconds) {
            eprintln!("xtask: {failure}");
            findings.push(target.as_str());
        }
    }
    if findings.is_empty() {
        println!("xtask: {} fuzz targets ran {seconds} s each without a finding", targets.len());
        Ok(())
    } else {
        Err(Failure::new(format!("fuzz findings in: {} (see crates/fuzz/artifacts)", findings.join(", "))))
    }
}

fn run_target(target: &str, seconds: u32) -> Result<(), Failure> {
    let fuzz = root().join("crates/fuzz");
    let corpus = fuzz.join("corpus").join(target);
    std::fs::create_dir_all(&corpus)
        .map_err(|error| Failure::new(format!("{}: {error}", corpus.display())))?;
    let corpus = corpus.to_string_lossy().into_owned();
    let seeds = fuzz.join("seeds").join(target);
    // The sanitizers want a nightly compiler; the stable one obeys when told to behave like one.
    let mut step = if Step::new("cargo").args(&["+nightly", "--version"]).succeeds() {
        Step::new("cargo").args(&["+nightly", "fuzz", "run"])
    } else {
        Step::cargo(&["fuzz", "run"]).env("RUSTC_BOOTSTRAP", "1")
    };
    // libFuzzer writes what it finds worth keeping to the first folder and only reads the others.
    step = step.args(&["--fuzz-dir", "crates/fuzz", target, &corpus]);
    if seeds.is_dir() {
        step = step.arg(&seeds.to_string_lossy());
    }
    let time = format!("-max_total_time={seconds}");
    step.args(&["--", &time, "-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1"]).run()
}

/// The names of the targets: the files of `crates/fuzz/fuzz_targets`.
fn targets() -> Result<Vec<String>, Failure> {
    let folder = root().join("crates/fuzz/fuzz_targets");
    let entries =
        std::fs::read_dir(&folder).map_err(|error| Failure::new(format!("{}: {error}", folder.display())))?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".rs").map(str::to_owned))
        .collect();
    names.sort();
    Ok(names)
}
