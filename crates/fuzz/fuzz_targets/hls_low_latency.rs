//! Low-latency playlists and their delta updates, rendered, checked, merged and damaged.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headwater_manifest::hls::fuzzing::hls_low_latency(data));
