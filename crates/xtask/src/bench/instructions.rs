//! `cargo xtask bench instructions`: what a frame and a rendering cost in instructions and allocations, against stored counts.
//!
//! Times drift with the machine and whatever else it does; these counts hardly do, so a few per cent more are somebody's doing and show
//! in review. They belong to a compiler and a C library (whose memcpy is a part of it): after an update of either, or a change that is
//! worth its cost, `--update` stores new ones.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::run::{Failure, Step};
use crate::{deps, root};

/// The counts of the last `--update`, beside the program that they are of.
const BASELINE: &str = "crates/packager/benches/path.json";

/// Instructions vary by this with where things come to lie in memory, and with the map's random keys. Allocations don't.
const TOLERANCE_PERCENT: u64 = 2;

/// What one turn of a kind of work took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counts {
    instructions: u64,
    allocations: u64,
    /// Frames or renderings in a turn.
    count: u64,
}

/// Counts, prints, and compares or stores.
pub(super) fn run(update: bool) -> Result<(), Failure> {
    if !Step::new("valgrind").arg("--version").succeeds() {
        deps::install_packages(&["valgrind"])?;
    }
    let program = build()?;
    let counts = count(&program)?;
    let compiler = Step::new("rustc").arg("--version").read()?.trim().to_owned();
    let path = root().join(BASELINE);
    if update {
        let text = serde_json::to_string_pretty(&to_json(&compiler, &counts))
            .map_err(|error| Failure::new(error.to_string()))?;
        std::fs::write(&path, text + "\n").map_err(|error| Failure::new(format!("{BASELINE}: {error}")))?;
    }
    let text =
        std::fs::read_to_string(&path).map_err(|error| Failure::new(format!("{BASELINE}: {error}")))?;
    let stored: Value =
        serde_json::from_str(&text).map_err(|error| Failure::new(format!("{BASELINE}: {error}")))?;
    println!("{:<14}{:>14}{:>14}{:>9}{:>14}", "", "instructions", "stored", "", "allocations");
    for (name, counts) in &counts {
        let per = |total: u64| total as f64 / counts.count.max(1) as f64;
        let before = from_json(&stored, name).map_or(f64::NAN, |stored| per(stored.instructions));
        println!(
            "{name:<14}{:>14.0}{before:>14.0}{:>8.1}%{:>14.2}",
            per(counts.instructions),
            (per(counts.instructions) / before - 1.0) * 100.0,
            per(counts.allocations)
        );
    }
    if stored["rustc"] != compiler.as_str() {
        println!(
            "stored with {}, this is {compiler}: an update of the compiler moves the counts",
            stored["rustc"]
        );
    }
    let grown = grown(&counts, &stored);
    if grown.is_empty() { Ok(()) } else { Err(Failure::new(grown.join("\n"))) }
}

/// What takes more than it may, in a line each.
fn grown(counts: &BTreeMap<String, Counts>, stored: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, now) in counts {
        let Some(before) = from_json(stored, name) else {
            lines.push(format!("{name}: no stored counts (--update)"));
            continue;
        };
        if now.instructions * 100 > before.instructions * (100 + TOLERANCE_PERCENT) {
            lines.push(format!("{name}: {} instructions, {} stored", now.instructions, before.instructions));
        }
        if now.allocations > before.allocations {
            lines.push(format!("{name}: {} allocations, {} stored", now.allocations, before.allocations));
        }
    }
    lines
}

fn to_json(compiler: &str, counts: &BTreeMap<String, Counts>) -> Value {
    let counts: serde_json::Map<String, Value> = counts
        .iter()
        .map(|(name, Counts { instructions, allocations, count })| {
            (name.clone(), json!({"instructions": instructions, "allocations": allocations, "count": count}))
        })
        .collect();
    json!({"rustc": compiler, "turn": counts})
}

fn from_json(stored: &Value, name: &str) -> Option<Counts> {
    let row = &stored["turn"][name];
    let number = |key: &str| row[key].as_u64();
    Some(Counts {
        instructions: number("instructions")?,
        allocations: number("allocations")?,
        count: number("count")?,
    })
}

/// Builds `benches/path.rs` and says where it is.
fn build() -> Result<PathBuf, Failure> {
    let bench = ["bench", "--locked", "--package", "headwater-packager", "--bench", "path", "--no-run"];
    // Once with what the compiler says, once for the name.
    Step::cargo(&bench).run()?;
    let messages = Step::cargo(&bench).arg("--message-format=json").read()?;
    let executable = messages.lines().find_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        let is_it = message["target"]["name"] == "path" && message["target"]["kind"][0] == "bench";
        is_it.then(|| message["executable"].as_str().map(PathBuf::from))?
    });
    executable.ok_or_else(|| Failure::new("cargo names no program of benches/path.rs"))
}

fn count(program: &std::path::Path) -> Result<BTreeMap<String, Counts>, Failure> {
    let program = program.to_string_lossy();
    let allocations = Step::new(&program).arg("json").read()?;
    let allocations: Value = serde_json::from_str(&allocations)
        .map_err(|error| Failure::new(format!("{program} json: {error}: {allocations}")))?;
    let mut counts = BTreeMap::new();
    for (name, row) in allocations.as_object().into_iter().flatten() {
        let number = |key: &str| row[key].as_u64().ok_or_else(|| Failure::new(format!("{name}: no {key}")));
        let valgrind = ["--tool=callgrind", "--callgrind-out-file=/dev/null", "--collect-atstart=no"];
        let looked_at = ["--toggle-collect=*measured_turn*", &program, "turns", name, "1"];
        let said = Step::new("valgrind").args(&valgrind).args(&looked_at).read_errors()?;
        let instructions =
            collected(&said).ok_or_else(|| Failure::new(format!("callgrind counted nothing: {said}")))?;
        let counted = Counts { instructions, allocations: number("allocations")?, count: number("count")? };
        counts.insert(name.clone(), counted);
    }
    Ok(counts)
}

/// The figure behind callgrind's "Collected :".
fn collected(said: &str) -> Option<u64> {
    let line = said.lines().find_map(|line| line.split_once("Collected :"))?.1;
    line.split_whitespace().next()?.parse().ok().filter(|count| *count > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_callgrind_says() {
        let said = "==7== Events    : Ir\n==7== Collected : 123456\n==7== \n==7== I   refs:      123,456\n";
        assert_eq!(collected(said), Some(123_456));
        // A function that is never entered.
        assert_eq!(collected("==7== Collected : 0\n"), None);
    }

    #[test]
    fn what_has_grown() {
        let counts = |instructions, allocations| {
            let counts = Counts { instructions, allocations, count: 10 };
            BTreeMap::from([("ingest".to_owned(), counts)])
        };
        let stored = to_json("rustc 1", &counts(1_000, 5));
        assert_eq!(from_json(&stored, "ingest"), counts(1_000, 5).get("ingest").copied());
        for (now, expected) in [
            (counts(1_000, 5), 0),
            (counts(1_020, 5), 0),
            (counts(1_021, 5), 1),
            (counts(900, 6), 1),
            (counts(2_000, 6), 2),
        ] {
            assert_eq!(grown(&now, &stored).len(), expected, "{now:?}");
        }
        assert_eq!(grown(&counts(1, 1), &json!({})).len(), 1, "a new one has to be stored");
    }
}
