//! The fuzz body over its committed seeds, over every truncation of these, and over random damage to them.

use headwater_flv::fuzzing::flv_tags;
use headwater_testkit::seeds::{over_seeds, seeds};
use proptest::prelude::*;
use proptest::sample::Index;

#[test]
fn seeds_and_their_truncations() {
    over_seeds("flv_tags", flv_tags);
}

proptest! {
    #[test]
    fn damaged_seeds(
        which in any::<Index>(),
        damage in prop::collection::vec((any::<Index>(), any::<u8>()), 1..20),
    ) {
        let mut seeds = seeds("flv_tags");
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
