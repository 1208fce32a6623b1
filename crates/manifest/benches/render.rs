//! Rendering of a media playlist, beside `m3u8-rs` writing the same one: the ratio is what counts.
fn main() {
    divan::main();
}
