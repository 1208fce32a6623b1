//! Playlists of strangers, in sequence.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headwater_manifest::fuzzing::hls_check(data));
