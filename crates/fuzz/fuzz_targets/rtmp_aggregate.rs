//! Aggregate messages.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headwater_rtmp::fuzzing::rtmp_aggregate(data));
