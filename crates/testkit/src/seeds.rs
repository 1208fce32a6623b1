//! The committed fuzz seeds, for the ordinary tests that run the fuzz bodies over them.

use std::fs;
use std::path::Path;

/// The seeds in `crates/fuzz/seeds/{name}`, in no particular order.
///
/// # Panics
/// If the folder cannot be read or holds nothing: a test over no seeds would pass for ever.
pub fn seeds(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(name);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let seeds: Vec<_> = files
        .map(|file| fs::read(file.expect("a readable folder").path()).expect("a readable seed"))
        .collect();
    assert!(!seeds.is_empty(), "no seeds in {}", folder.display());
    seeds
}

/// Runs the fuzz body over the seeds of `name` and over every truncation of them.
///
/// # Panics
/// As [`seeds`], and whenever `body` does.
pub fn over_seeds(name: &str, body: impl Fn(&[u8])) {
    for seed in seeds(name) {
        for end in 0..=seed.len() {
            body(seed.get(..end).unwrap_or(&seed));
        }
    }
}
