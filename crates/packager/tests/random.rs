//! A publisher that does anything, at random: what must hold holds after each step.

use headwater_packager::fuzzing;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn whatever_a_publisher_does(script in proptest::collection::vec(any::<u8>(), 0..120)) {
        fuzzing::packager(&script);
    }

    #[test]
    fn whatever_lies_where_a_stream_was_kept(script in proptest::collection::vec(any::<u8>(), 0..12)) {
        fuzzing::kept(&script);
        fuzzing::noted(&script);
    }
}

#[test]
fn seeds_of_the_fuzz_target() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/seeds/packager");
    let mut seeds = 0;
    for seed in std::fs::read_dir(folder).unwrap() {
        let script = std::fs::read(seed.unwrap().path()).unwrap();
        (0..=script.len()).for_each(|length| fuzzing::packager(&script[..length]));
        seeds += 1;
    }
    assert!(seeds >= 10);
}
