//! Puts the page's players into the binary, each that `npm ci --prefix crates/origin/web` has fetched; builds without them
//! otherwise.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs, io};

/// A player: the name it is served under below `/assets/`, its script and its licence below `web/node_modules`.
struct Player {
    name: &'static str,
    script: &'static str,
    licence: &'static str,
}

const PLAYERS: &[Player] = &[
    Player { name: "hls.js", script: "hls.js/dist/hls.min.js", licence: "hls.js/LICENSE" },
    // Without DRM, Smooth Streaming and reporting, which nothing here needs.
    Player {
        name: "dash.js",
        script: "dashjs/dist/modern/umd/dash.mediaplayer.min.js",
        licence: "dashjs/LICENSE.md",
    },
    // The build for browsers that know ES2021, without its own controls: the page uses the browser's.
    Player {
        name: "shaka.js",
        script: "shaka-player/dist/shaka-player.compiled-es2021.js",
        licence: "shaka-player/LICENSE",
    },
];

fn main() -> io::Result<()> {
    let root = env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?;
    let out = env::var("OUT_DIR").map_err(io::Error::other)?;
    let packages = Path::new(&root).join("web/node_modules");
    // A missing file would count as changed in every build; its folder is always there.
    println!("cargo:rerun-if-changed=web");
    println!("cargo:rerun-if-changed=build.rs");
    let mut code = String::from("const PLAYERS: &[Player] = &[\n");
    for Player { name, script, licence } in PLAYERS {
        let Ok(script) = fs::read_to_string(packages.join(script)) else { continue };
        // The licences ask to stand wherever the script goes; minified scripts have no more than a pointer to them.
        let licence = fs::read_to_string(packages.join(licence))?.replace("*/", "* /");
        fs::write(Path::new(&out).join(name), format!("/*\n{licence}\n*/\n{script}"))?;
        let bytes = format!("include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{name}\"))");
        writeln!(code, "    Player {{ name: \"{name}\", script: {bytes} }},").map_err(io::Error::other)?;
    }
    code.push_str("];\n");
    fs::write(Path::new(&out).join("players.rs"), code)
}
