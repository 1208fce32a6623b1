//! Everything at once: `cargo xtask soak` runs it for minutes, the ordinary tests for as long as it takes to see that it runs.

use std::time::Duration;

use headwater_tests::Scratch;
use headwater_tests::soak::{Plan, run};

/// Set by `cargo xtask soak`.
fn asked(variable: &str, default: u64) -> u64 {
    let value = std::env::var(variable).ok();
    value
        .map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{variable} is no number: {value}")))
}

#[test]
fn healthy_streams_beside_everything_hostile() {
    let streams = usize::try_from(asked("SOAK_STREAMS", 3)).expect("a small number");
    let plan = Plan { time: Duration::from_secs(asked("SOAK_SECONDS", 20)), streams };
    if let Err(failures) = run(&Scratch::new("soak"), plan) {
        panic!("{} failures:\n{}", failures.len(), failures.join("\n"));
    }
}
