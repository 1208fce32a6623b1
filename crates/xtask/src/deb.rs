//! `cargo xtask deb`: the Debian package, and whether what is in it works. Not part of `cargo xtask test`: building cargo-deb and the
//! release takes minutes.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::root;
use crate::run::{Failure, Step};

/// What makes a package of `[package.metadata.deb]` (`crates/origin/Cargo.toml`); built below `target`, once.
const CARGO_DEB: &str = "3.8.0";

/// Where it is installed, below the root.
const TOOLS: &str = "target/tools";

/// What the program prints about itself, for the package; `crates/origin/Cargo.toml` names it.
const PRINTED: &str = "target/package";

/// The binary that is packaged, and the package that the tests install: with the binary that the other tests run, made in seconds.
const BINARY: &str = "target/release/headwater";
const BINARY_OF_TESTS: &str = "target/debug/headwater";
const PACKAGE_OF_TESTS: &str = "target/package-test/headwater.deb";

/// Shells with the names that their completions have in [`PRINTED`].
const SHELLS: [&str; 3] = ["bash", "fish", "zsh"];

/// Files that the package must have, each for somebody who looks for it.
const EXPECTED: [&str; 9] = [
    "etc/headwater/headwater.toml",
    "lib/systemd/system/headwater.service",
    "lib/systemd/system/headwater.socket",
    "usr/bin/headwater",
    "usr/lib/sysusers.d/headwater.conf",
    "usr/share/bash-completion/completions/headwater",
    "usr/share/doc/headwater/docs/operate.md",
    "usr/share/man/man1/headwater-serve.1.gz",
    "usr/share/man/man1/headwater.1.gz",
];

/// Builds the package, unpacks it into a folder of its own and runs what is there.
pub(crate) fn run() -> Result<(), Failure> {
    let release = ["build", "--release", "--locked", "--package", "headwater-origin", "--bin", "headwater"];
    Step::cargo(&release).run()?;
    print_about(BINARY)?;
    let folder = root().join("target/debian");
    emptied(&folder)?;
    cargo_deb(&["--strip", "--output", &format!("{}/", folder.display())])?;
    let package = built(&folder)?;
    examine(&package)?;
    println!("xtask: {}", package.display());
    Ok(())
}

/// The package for `tests/tests/packaging_boot.rs`; `cargo build` has made its binary.
pub(crate) fn for_tests() -> Result<(), Failure> {
    print_about(BINARY_OF_TESTS)?;
    let package = root().join(PACKAGE_OF_TESTS);
    package.parent().map_or(Ok(()), emptied)?;
    cargo_deb(&["--profile", "dev", "--strip", "--fast", "--output", &package.display().to_string()])
}

fn failure(path: &Path) -> impl FnOnce(std::io::Error) -> Failure {
    move |error| Failure::new(format!("{}: {error}", path.display()))
}

/// An empty folder.
fn emptied(path: &Path) -> Result<(), Failure> {
    let _ = fs::remove_dir_all(path);
    fs::create_dir_all(path).map_err(failure(path))
}

/// The manual's pages, compressed as Debian wants them, and the completions.
fn print_about(binary: &str) -> Result<(), Failure> {
    let folder = root().join(PRINTED);
    emptied(&folder)?;
    let (man, completions) = (folder.join("man"), folder.join("completions"));
    emptied(&man)?;
    emptied(&completions)?;
    let main = Step::new(binary).arg("man").read()?;
    let mut pages = vec![("headwater".to_owned(), main.clone())];
    for command in commands(&main) {
        pages.push((format!("headwater-{command}"), Step::new(binary).args(&["man", command]).read()?));
    }
    for (name, page) in pages {
        let path = man.join(format!("{name}.1.gz"));
        let file = fs::File::create(&path).map_err(failure(&path))?;
        // As gzip -9n: no name and no time, so that equal pages are equal files.
        let mut gzip = flate2::GzBuilder::new().write(file, flate2::Compression::best());
        gzip.write_all(page.as_bytes()).and_then(|()| gzip.finish()).map_err(failure(&path))?;
    }
    for shell in SHELLS {
        let path = completions.join(format!("headwater.{shell}"));
        let script = Step::new(binary).args(&["completions", shell]).read()?;
        fs::write(&path, script).map_err(failure(&path))?;
    }
    Ok(())
}

/// The commands that headwater(1) lists, as `headwater\-serve(1)`.
fn commands(page: &str) -> Vec<&str> {
    page.lines().filter_map(|line| line.strip_prefix(r"headwater\-")?.strip_suffix("(1)")).collect()
}

/// Makes the package of what was built; cargo-deb itself is built once.
fn cargo_deb(arguments: &[&str]) -> Result<(), Failure> {
    let program = root().join(TOOLS).join("bin/cargo-deb");
    let program = program.display().to_string();
    let is_installed =
        Step::new(&program).arg("--version").read().is_ok_and(|version| version.trim().ends_with(CARGO_DEB));
    if !is_installed {
        let build = format!("{TOOLS}/build");
        let install = ["install", "cargo-deb", "--locked", "--version", CARGO_DEB, "--root", TOOLS];
        Step::cargo(&install).args(&["--target-dir", &build]).run()?;
    }
    Step::new(&program).args(&["--no-build", "--package", "headwater-origin"]).args(arguments).run()
}

/// The package in this folder.
fn built(folder: &Path) -> Result<PathBuf, Failure> {
    let mut found =
        fs::read_dir(folder).map_err(failure(folder))?.filter_map(|entry| Some(entry.ok()?.path()));
    found
        .find(|path| path.extension().is_some_and(|ending| ending == "deb"))
        .ok_or_else(|| Failure::new(format!("{}: there is no package", folder.display())))
}

/// All files are there, the configuration is one of the package manager's, and the program finds it good.
fn examine(package: &Path) -> Result<(), Failure> {
    let package = package.display().to_string();
    let unpacked = root().join("target/debian/unpacked");
    emptied(&unpacked)?;
    Step::new("dpkg-deb").args(&["--extract", &package, &unpacked.display().to_string()]).run()?;
    for file in EXPECTED {
        if !unpacked.join(file).is_file() {
            return Err(Failure::new(format!("{package}: no {file} in it")));
        }
    }
    let configurations = Step::new("dpkg-deb").args(&["--info", &package, "conffiles"]).read()?;
    if configurations.trim() != "/etc/headwater/headwater.toml" {
        return Err(Failure::new(format!("{package}: conffiles: {configurations}")));
    }
    for script in ["postinst", "prerm", "postrm"] {
        let text = Step::new("dpkg-deb").args(&["--info", &package, script]).read()?;
        Step::new("sh").args(&["-n", "-c", &text]).read()?;
    }
    let program = unpacked.join("usr/bin/headwater").display().to_string();
    let configuration = unpacked.join("etc/headwater/headwater.toml").display().to_string();
    Step::new(&program).args(&["check", "--config", &configuration]).run()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_of_a_page() {
        let page =
            ".SH SUBCOMMANDS\n.TP\nheadwater\\-serve(1)\nServe\n.TP\nheadwater\\-man(1)\nheadwater(1)\n";
        assert_eq!(commands(page), ["serve", "man"]);
    }
}
