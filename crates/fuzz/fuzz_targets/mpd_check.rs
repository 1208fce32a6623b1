//! Versions of an MPD, checked.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headwater_manifest::dash::fuzzing::mpd_check(data));
