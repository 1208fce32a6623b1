//! The last segments of a stream as a file.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headwater_packager::fuzzing::kept(data));
