//! Puts hls.js into the binary when `npm ci --prefix crates/origin/web` has fetched it; builds without it otherwise.

use std::path::Path;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let root = env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?;
    let out = env::var("OUT_DIR").map_err(io::Error::other)?;
    let script = Path::new(&root).join("web/node_modules/hls.js/dist/hls.min.js");
    let embedded = Path::new(&out).join("hls.min.js");
    // A missing file would count as changed in every build; its folder is always there.
    println!("cargo:rerun-if-changed=web");
    println!("cargo:rerun-if-changed=build.rs");
    let constant = if script.is_file() {
        fs::copy(&script, &embedded)?;
        r#"Some(include_bytes!(concat!(env!("OUT_DIR"), "/hls.min.js")))"#
    } else {
        "None"
    };
    let code = format!(
        "/// hls.js as npm has it, when this build found it.\nconst HLS_JS: Option<&'static [u8]> = {constant};\n"
    );
    fs::write(Path::new(&out).join("hls_js.rs"), code)
}
