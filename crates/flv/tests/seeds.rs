//! The fuzz body over its committed seeds, over every truncation of these, and over random damage to them.

use std::fs;
use std::path::Path;

use headwater_flv::fuzzing::flv_tags;
use proptest::prelude::*;
use proptest::sample::Index;

fn seeds() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds/flv_tags");
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let seeds: Vec<_> = files.map(|file| fs::read(file.unwrap().path()).unwrap()).collect();
    assert!(!seeds.is_empty());
    seeds
}

#[test]
fn seeds_and_their_truncations() {
    for seed in seeds() {
        for end in 0..=seed.len() {
            flv_tags(&seed[..end]);
        }
    }
}

proptest! {
    #[test]
    fn damaged_seeds(
        which in any::<Index>(),
        damage in prop::collection::vec((any::<Index>(), any::<u8>()), 1..20),
    ) {
        let mut seeds = seeds();
        let seed = which.get_mut(&mut seeds);
        for (at, byte) in damage {
            *at.get_mut(seed) ^= byte;
        }
        flv_tags(seed);
    }

    #[test]
    fn random_messages(data in prop::collection::vec(any::<u8>(), 0..600)) {
        flv_tags(&data);
    }

    /// Bodies that begin like the real thing: header byte, packet type, then anything.
    #[test]
    fn random_bodies(bodies in prop::collection::vec(
        (prop::sample::select(vec![0x17_u8, 0x27, 0x80, 0x81, 0x86, 0x87, 0x90, 0xAF, 0x2F, 0x95, 0x97]),
         0..3_u8,
         prop::collection::vec(any::<u8>(), 0..60)), 0..8)
    ) {
        let mut data = Vec::new();
        for (header, packet_type, rest) in bodies {
            let size = u16::try_from(rest.len() + 2).unwrap();
            data.push(u8::from(!matches!(header, 0xAF | 0x2F | 0x95 | 0x97)));
            data.extend_from_slice(&size.to_be_bytes());
            data.extend_from_slice(&[header, packet_type]);
            data.extend_from_slice(&rest);
        }
        flv_tags(&data);
    }
}
