//! A small Debian below `target`, that `tests/tests/packaging_boot.rs` boots in a container of its own, with systemd as its first process, to
//! install the package there.

use std::fs;
use std::path::{Path, PathBuf};

use crate::deps::is_root;
use crate::root;
use crate::run::{Failure, Step};

/// The test program that needs it.
pub(crate) const TEST: &str = "packaging_boot";

/// Where it lies, below the root.
const FOLDER: &str = "target/machine";

/// Makes it. Within: whether the test can run on this machine, as root and where containers are allowed, or why not and what to do. That
/// is no failure, but nobody may take it for a pass either.
pub(crate) fn prepare() -> Result<Result<(), String>, Failure> {
    let by_hand = format!("where it can: sudo --preserve-env=PATH cargo xtask test {TEST}");
    if !is_root() {
        return Ok(Err(format!("it needs root; {by_hand}")));
    }
    let folder = root().join(FOLDER);
    if !folder.join("usr/bin/systemctl").exists() {
        println!("xtask: a small Debian for {TEST}, from the distribution's packages");
        let _ = fs::remove_dir_all(&folder);
        debian(&folder, &["systemd-sysv"])?;
    }
    let container = ["--quiet", "--register=no", "--keep-unit", "--private-network", "--volatile=overlay"];
    let tried = Step::new("systemd-nspawn").args(&container).args(&["--directory", FOLDER, "true"]).read();
    Ok(tried.map(drop).map_err(|why| format!("no container can be had here ({why}); {by_hand}")))
}

/// A Debian of the release that runs here, as a folder or as an archive (`*.tar`), with what is essential and these packages. As in
/// Debian's own images without documentation.
pub(crate) fn debian(target: &Path, packages: &[&str]) -> Result<(), Failure> {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let codename = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let codename = codename.ok_or_else(|| Failure::new("/etc/os-release names no release of Debian"))?;
    // Beside it and then renamed: half of it is never taken for the whole.
    let partial = PathBuf::from(format!("{}-partial{}", target.display(), ending(target)));
    let _ = fs::remove_dir_all(&partial);
    // Nothing is lost if the machine goes down meanwhile: no file is waited for.
    let mut step =
        Step::new("mmdebstrap").args(&["--quiet", "--variant=minbase", "--dpkgopt=force-unsafe-io"]);
    for documentation in ["doc", "locale", "man"] {
        step = step.arg(&format!("--dpkgopt=path-exclude=/usr/share/{documentation}/*"));
    }
    if !packages.is_empty() {
        step = step.arg(&format!("--include={}", packages.join(",")));
    }
    step.arg(codename).arg(&partial.display().to_string()).run()?;
    fs::rename(&partial, target).map_err(|error| Failure::new(format!("{}: {error}", target.display())))
}

/// By it mmdebstrap knows what is wanted.
fn ending(target: &Path) -> &'static str {
    if target.extension().is_some_and(|ending| ending == "tar") { ".tar" } else { "" }
}
