//! Sequence parameter sets of H.264.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headwater_codec::fuzzing::sps(data));
