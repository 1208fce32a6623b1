//! What is noted of a Period.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headwater_packager::fuzzing::noted(data));
