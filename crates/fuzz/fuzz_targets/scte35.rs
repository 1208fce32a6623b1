//! Sections of splice information, with the CRC that they came with and with the right one.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headwater_codec::fuzzing::scte35(data));
