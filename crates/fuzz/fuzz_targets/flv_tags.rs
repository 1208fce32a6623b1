//! Sequences of FLV tag bodies.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headwater_flv::fuzzing::flv_tags(data));
