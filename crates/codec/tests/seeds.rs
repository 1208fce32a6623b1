//! The fuzz bodies over their committed seeds, over every truncation of these, and over random damage to them.

use std::fs;
use std::path::Path;

use headwater_codec::fuzzing;
use proptest::prelude::*;
use proptest::sample::Index;

type Body = fn(&[u8]);
const BODIES: [(&str, Body); 4] =
    [("avcc", fuzzing::avcc), ("sps", fuzzing::sps), ("asc", fuzzing::asc), ("mp3", fuzzing::mp3)];

fn seeds(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(name);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let seeds: Vec<_> = files.map(|file| fs::read(file.unwrap().path()).unwrap()).collect();
    assert!(!seeds.is_empty(), "no seeds in {}", folder.display());
    seeds
}

#[test]
fn seeds_and_their_truncations() {
    for (name, body) in BODIES {
        for seed in seeds(name) {
            for end in 0..=seed.len() {
                body(&seed[..end]);
            }
        }
    }
}

proptest! {
    #[test]
    fn damaged_seeds(
        which in any::<Index>(),
        damage in prop::collection::vec((any::<Index>(), any::<u8>()), 1..8),
    ) {
        for (name, body) in BODIES {
            let mut seeds = seeds(name);
            let seed = which.get_mut(&mut seeds);
            for (at, byte) in &damage {
                *at.get_mut(seed) ^= byte;
            }
            body(seed);
        }
    }

    #[test]
    fn random_bytes(data in prop::collection::vec(any::<u8>(), 0..400)) {
        for (_, body) in BODIES {
            body(&data);
        }
    }
}
