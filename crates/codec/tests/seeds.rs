//! The fuzz bodies over their committed seeds, over every truncation of these, and over random damage to them.

use headwater_codec::fuzzing;
use headwater_testkit::seeds::{over_seeds, seeds};
use proptest::prelude::*;
use proptest::sample::Index;

type Body = fn(&[u8]);
const BODIES: [(&str, Body); 5] = [
    ("avcc", fuzzing::avcc),
    ("sps", fuzzing::sps),
    ("asc", fuzzing::asc),
    ("mp3", fuzzing::mp3),
    ("scte35", fuzzing::scte35),
];

#[test]
fn seeds_and_their_truncations() {
    for (name, body) in BODIES {
        over_seeds(name, body);
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
