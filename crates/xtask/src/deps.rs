//! What the tests need beside Rust: encoders, players and a browser from the distribution, two packages from npm.

use std::collections::HashSet;
use std::path::Path;

use crate::root;
use crate::run::{Failure, Step};

/// Packages of Debian and Ubuntu.
const PACKAGES: &[&str] = &[
    // Encoders that publish.
    "ffmpeg",
    "gstreamer1.0-tools",
    "gstreamer1.0-plugins-base",
    "gstreamer1.0-plugins-good",
    "gstreamer1.0-plugins-bad",
    "gstreamer1.0-plugins-ugly",
    "gstreamer1.0-libav",
    "rtmpdump",
    "obs-studio",
    "obs-plugins",
    // OBS needs a screen and an OpenGL that works without a graphics card.
    "xvfb",
    "libgl1-mesa-dri",
    // Players. VLC without its window: vlc-bin has the program, vlc-plugin-base the HLS demuxer and the decoders.
    "vlc-bin",
    "vlc-plugin-base",
    "chromium",
    // VLC refuses to run as root: setpriv takes the rights away.
    "util-linux",
    "libxml2-utils",
];

/// Installed only where no `node` is found: many machines have one from elsewhere, which these would fight with.
const NODE_PACKAGES: &[&str] = &["nodejs", "npm"];

/// The folder of the browser tests' npm packages, below the root.
const PLAYERS: &str = "tests/players";

/// Installs what is missing; prints nothing but one line when all is there.
pub(crate) fn install() -> Result<(), Failure> {
    system_packages()?;
    node_packages()?;
    println!("xtask: everything that the tests need is installed");
    Ok(())
}

fn system_packages() -> Result<(), Failure> {
    let mut wanted: Vec<&str> = PACKAGES.to_vec();
    if !(has_program("node") && has_program("npm")) {
        wanted.extend(NODE_PACKAGES);
    }
    if !has_program("dpkg-query") {
        return Err(Failure::new(format!(
            "this is neither Debian nor Ubuntu; install the equivalents of: {}",
            wanted.join(" ")
        )));
    }
    let installed = installed_packages()?;
    wanted.retain(|package| !installed.contains(*package));
    if wanted.is_empty() {
        return Ok(());
    }
    println!("xtask: to install from the distribution: {}", wanted.join(" "));
    if !is_root() {
        return Err(Failure::new(format!(
            "these packages are missing; run this once:\n  sudo apt-get update && sudo apt-get install -y --no-install-recommends {}",
            wanted.join(" ")
        )));
    }
    let quiet = "noninteractive";
    Step::new("apt-get").args(&["update", "-q"]).env("DEBIAN_FRONTEND", quiet).run()?;
    let install = ["install", "-y", "-q", "--no-install-recommends"];
    Step::new("apt-get").args(&install).args(&wanted).env("DEBIAN_FRONTEND", quiet).run()
}

/// Every package that dpkg calls installed, in one question.
fn installed_packages() -> Result<HashSet<String>, Failure> {
    let format = "--showformat=${db:Status-Abbrev} ${Package}\n";
    let listing = Step::new("dpkg-query").args(&["--show", format]).read()?;
    let installed = listing.lines().filter_map(|line| {
        let (status, package) = line.split_once(' ')?;
        (status.trim() == "ii").then(|| package.trim().to_owned())
    });
    Ok(installed.collect())
}

/// `npm ci`, unless the installed packages are those of the lock file.
fn node_packages() -> Result<(), Failure> {
    let players = root().join(PLAYERS);
    if node_packages_are_current(&players) {
        return Ok(());
    }
    println!("xtask: to install from npm: the packages of {PLAYERS}/package-lock.json");
    // playwright-core would be content, but a browser download by any dependency must never start: Chromium is Debian's.
    let npm = ["ci", "--no-audit", "--no-fund", "--ignore-scripts"];
    Step::new("npm").args(&npm).folder(players).run()
}

/// npm copies the lock file's package list into node_modules; each wanted version must be there.
fn node_packages_are_current(players: &Path) -> bool {
    let read = |path: &Path| -> Option<serde_json::Value> {
        serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()
    };
    let Some(wanted) = read(&players.join("package-lock.json")) else { return false };
    let Some(installed) = read(&players.join("node_modules/.package-lock.json")) else { return false };
    let Some(packages) = wanted["packages"].as_object() else { return false };
    packages.iter().filter(|(path, package)| !path.is_empty() && package["optional"] != true).all(
        |(path, package)| {
            installed["packages"][path]["version"] == package["version"] && players.join(path).is_dir()
        },
    )
}

fn has_program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
}

fn is_root() -> bool {
    Step::new("id").arg("-u").read().is_ok_and(|id| id.trim() == "0")
}
