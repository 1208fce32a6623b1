//! CMAF chunks.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headwater_cmaf::fuzzing::cmaf_chunk(data));
