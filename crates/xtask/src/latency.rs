//! `cargo xtask latency`: how far behind the camera each player is. The measuring is `tests/examples/latency.rs`, on the release build.

use crate::deps;
use crate::root;
use crate::run::{Failure, Step};

/// Runs it with its own options.
pub(crate) fn run(options: &[&str]) -> Result<(), Failure> {
    deps::install()?;
    Step::cargo(&["build", "--release", "--locked", "--package", "headwater-origin", "--bin", "headwater"])
        .run()?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), Into::into);
    let server = target.join("release/headwater");
    // The measuring itself waits; only the server is to be as fast as it is for its users.
    Step::cargo(&["run", "--quiet", "--locked", "--package", "headwater-tests", "--example", "latency", "--"])
        .args(options)
        .env("TEST_HEADWATER", &server.to_string_lossy())
        .run()
}
