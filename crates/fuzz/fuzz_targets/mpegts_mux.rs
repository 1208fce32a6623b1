//! The MPEG-TS muxer, scripted.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headwater_mpegts::fuzzing::mpegts_mux(data));
