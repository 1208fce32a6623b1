//! AMF0 values.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headwater_rtmp::fuzzing::amf0(data));
