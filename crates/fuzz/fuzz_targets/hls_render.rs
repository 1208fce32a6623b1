//! Playlists that are rendered, checked and parsed back.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headwater_manifest::fuzzing::hls_render(data));
