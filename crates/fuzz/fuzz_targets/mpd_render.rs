//! MPDs rendered from a model, checked and read back.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| headwater_manifest::dash::fuzzing::mpd_render(data));
