//! What the tests need beside Rust: encoders, players and a browser from the distribution, players in JavaScript from npm, and
//! some from PyPI.

use std::collections::HashSet;
use std::fs::OpenOptions;
use std::io::ErrorKind;
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
    // A client of HTTP/2 that nobody here wrote.
    "curl",
    // A client of TLS that can be told which version to speak.
    "openssl",
    // Caches. The tests start their own, from config/.
    "nginx",
    "varnish",
    // A load balancer, for the PROXY protocol; the tests start their own.
    "haproxy",
    // What events are told to, and what checks their signatures. The tests start brokers of their own.
    "mosquitto",
    "mosquitto-clients",
    // What scrapes the metrics, with promtool. The tests start their own.
    "prometheus",
    // systemd-analyze and systemd-socket-activate; it need not be what runs the machine.
    "systemd",
    // Boots a small Debian, made of the distribution's packages, to install the package there.
    "systemd-container",
    "mmdebstrap",
    // What the server asks the kernel for, held against the unit's filter.
    "strace",
    // Reads docker-compose.yml, without a Docker.
    "docker-compose",
    // For what comes from PyPI.
    "python3-venv",
];

/// Asked by Debian's maintainer scripts before they start a service (invoke-rc.d(8)). Several packages would start theirs, nginx on
/// port 80.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Installed only where no `node` is found: many machines have one from elsewhere, which these would fight with.
const NODE_PACKAGES: &[&str] = &["nodejs", "npm"];

/// The folders with npm packages, below the root: the page's players, which the build puts into the binary when they are
/// there, and what the browser tests run.
const NODE_FOLDERS: &[&str] = &["crates/origin/web", "tests/players"];

/// From PyPI, into an environment of their own below `target`.
const PYTHON_PACKAGES: [(&str, &str); 3] = [
    // Asks an API what its description promises.
    ("schemathesis", "4.32.5"),
    // Reads splice information.
    ("threefive", "3.1.5"),
    // Reads what a collector of traces is sent.
    ("opentelemetry-proto", "1.45.2"),
];

/// That environment, below the root; `api.rs` and `metadata.rs` in `tests/tests`, and `tests/src/collector.rs` start what is in it.
const PYTHON_FOLDER: &str = "target/python";

/// Installs what is missing; prints nothing but one line when all is there.
pub(crate) fn install() -> Result<(), Failure> {
    system_packages()?;
    node_packages()?;
    python_packages()?;
    println!("xtask: everything that the tests need is installed");
    Ok(())
}

fn system_packages() -> Result<(), Failure> {
    let mut wanted: Vec<&str> = PACKAGES.to_vec();
    if !(has_program("node") && has_program("npm")) {
        wanted.extend(NODE_PACKAGES);
    }
    install_packages(&wanted)
}

/// Those of the distribution's packages that are not installed.
pub(crate) fn install_packages(wanted: &[&str]) -> Result<(), Failure> {
    let mut wanted = wanted.to_vec();
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
            "these packages are missing; run this once:\n  sudo apt-get update && sudo apt-get install -y --no-install-recommends {}\n\
             (Debian starts services then of which the tests need none: sudo systemctl disable --now nginx varnish haproxy mosquitto prometheus)",
            wanted.join(" ")
        )));
    }
    let quiet = "noninteractive";
    Step::new("apt-get").args(&["update", "-q"]).env("DEBIAN_FRONTEND", quiet).run()?;
    let _no_service_starts = NoServiceStarts::begin()?;
    let install = ["install", "-y", "-q", "--no-install-recommends"];
    Step::new("apt-get").args(&install).args(&wanted).env("DEBIAN_FRONTEND", quiet).run()
}

/// While this lives, the installation of a package starts no service.
struct NoServiceStarts {
    /// Where there is a policy already, containers as a rule, it is somebody's own and stays as it is.
    is_ours: bool,
}

impl NoServiceStarts {
    fn begin() -> Result<NoServiceStarts, Failure> {
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        let created = OpenOptions::new().write(true).create_new(true).mode(0o755).open(POLICY);
        let failure = |error: std::io::Error| Failure::new(format!("{POLICY}: {error}"));
        match created {
            Ok(mut file) => {
                let policy = NoServiceStarts { is_ours: true };
                // 101: not allowed.
                file.write_all(b"#!/bin/sh\nexit 101\n").map_err(failure)?;
                Ok(policy)
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(NoServiceStarts { is_ours: false }),
            Err(error) => Err(failure(error)),
        }
    }
}

impl Drop for NoServiceStarts {
    fn drop(&mut self) {
        if self.is_ours
            && let Err(error) = std::fs::remove_file(POLICY)
        {
            println!("xtask: {POLICY} could not be removed ({error}); it keeps services from starting");
        }
    }
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

/// `npm ci` in each folder, unless the installed packages are those of the lock file.
fn node_packages() -> Result<(), Failure> {
    for folder in NODE_FOLDERS {
        let path = root().join(folder);
        if node_packages_are_current(&path) {
            continue;
        }
        println!("xtask: to install from npm: the packages of {folder}/package-lock.json");
        // playwright-core would be content, but a browser download by any dependency must never start: Chromium is
        // Debian's.
        let npm = ["ci", "--no-audit", "--no-fund", "--ignore-scripts"];
        Step::new("npm").args(&npm).folder(path).run()?;
    }
    Ok(())
}

/// npm copies the lock file's package list into node_modules; each wanted version must be there.
fn node_packages_are_current(folder: &Path) -> bool {
    let read = |path: &Path| -> Option<serde_json::Value> {
        serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()
    };
    let Some(wanted) = read(&folder.join("package-lock.json")) else { return false };
    let Some(installed) = read(&folder.join("node_modules/.package-lock.json")) else { return false };
    let Some(packages) = wanted["packages"].as_object() else { return false };
    packages.iter().filter(|(path, package)| !path.is_empty() && package["optional"] != true).all(
        |(path, package)| {
            installed["packages"][path]["version"] == package["version"] && folder.join(path).is_dir()
        },
    )
}

/// Unless the wanted versions are there already.
fn python_packages() -> Result<(), Failure> {
    let pip = format!("{PYTHON_FOLDER}/bin/pip");
    let python = format!("{PYTHON_FOLDER}/bin/python");
    let installed =
        PYTHON_PACKAGES.map(|(name, version)| format!("assert m.version({name:?}) == {version:?}"));
    let installed = format!("import importlib.metadata as m; {}", installed.join("; "));
    if root().join(&python).is_file() && Step::new(&python).args(&["-c", &installed]).succeeds() {
        return Ok(());
    }
    let wanted = PYTHON_PACKAGES.map(|(name, version)| format!("{name}=={version}"));
    println!("xtask: to install from PyPI: {}", wanted.join(" "));
    Step::new("python3").args(&["-m", "venv", PYTHON_FOLDER]).run()?;
    let install = ["install", "--quiet", "--disable-pip-version-check"];
    Step::new(&pip).args(&install).args(&wanted.each_ref().map(String::as_str)).run()
}

fn has_program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
}

pub(crate) fn is_root() -> bool {
    Step::new("id").arg("-u").read().is_ok_and(|id| id.trim() == "0")
}
