//! The project's own rules about files: what no other tool checks.

use std::path::Path;

use crate::root;
use crate::run::{Failure, Step};

/// A file longer than this before its tests has to fit one sentence all the same; it is pointed out, not refused.
const LINES_BEFORE_TESTS: usize = 800;

/// The clips must stay small: everybody who clones the project gets them.
const SAMPLE_MEDIA_BYTES_MAX: u64 = 5 * 1024 * 1024;

/// Crates below `origin`: no unsafe code, no clock.
const BELOW_ORIGIN: &[&str] = &["media", "codec", "rtmp", "flv", "mpegts", "cmaf", "manifest", "packager"];

/// Files that must be there, because convention, the README or another file points at them.
const NEEDED: &[&str] = &[
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "Cargo.lock",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "config/alerts.yml",
    "config/grafana.json",
    "config/headwater.toml",
    "config/nginx.conf",
    "config/prometheus.yml",
    "config/varnish.vcl",
    "crates/origin/web/package-lock.json",
    "deny.toml",
    "docker-compose.yml",
    "docs/cdn.md",
    "docs/operate.md",
    "packaging/docker/Dockerfile",
    "packaging/systemd/headwater.service",
    "packaging/systemd/headwater.socket",
    "sample-media/README.md",
    "tests/players/package-lock.json",
];

/// Everything in the visible top level (dot files aside).
const TOP_LEVEL: &[&str] = &[
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "Dockerfile",
    "LICENSE",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "config",
    "crates",
    "deny.toml",
    "docker-compose.yml",
    "docs",
    "packaging",
    "rustfmt.toml",
    "sample-media",
    "tests",
];

/// Endings of text files that are checked line by line.
const TEXT: &[&str] = &[
    "rs", "toml", "md", "sh", "mjs", "js", "json", "html", "css", "yml", "yaml", "lock", "py", "run", "conf",
    "vcl", "service", "socket", "sysusers",
];

/// One broken rule.
struct Finding {
    place: String,
    rule: String,
}

/// Checks every file that git knows or would add. Prints each broken rule with its place.
pub(crate) fn run() -> Result<(), Failure> {
    println!("+ tidy");
    let listing =
        Step::new("git").args(&["ls-files", "--cached", "--others", "--exclude-standard"]).read()?;
    // A file that was deleted but is not yet committed is still listed.
    let files: Vec<&str> = listing.lines().filter(|path| root().join(path).is_file()).collect();
    let mut findings = tree_findings(&files);
    for path in &files {
        if !is_text(path) {
            continue;
        }
        match std::fs::read_to_string(root().join(path)) {
            Ok(text) => {
                findings.extend(text_findings(path, &text));
                point_out_length(path, &text);
            }
            Err(error) => findings.push(Finding { place: (*path).to_owned(), rule: error.to_string() }),
        }
    }
    for finding in &findings {
        println!("{}: {}", finding.place, finding.rule);
    }
    if findings.is_empty() {
        Ok(())
    } else {
        Err(Failure::new(format!("tidy: {} broken rules", findings.len())))
    }
}

fn is_text(path: &str) -> bool {
    let ending = Path::new(path).extension().and_then(|ending| ending.to_str());
    ending.is_some_and(|ending| TEXT.contains(&ending)) || path == ".ci/run"
}

/// Rules about which files exist.
fn tree_findings(files: &[&str]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |place: &str, rule: String| findings.push(Finding { place: place.to_owned(), rule });
    for needed in NEEDED {
        if !files.contains(needed) {
            find(needed, "this file is needed".to_owned());
        }
    }
    let mut seen: Vec<&str> = Vec::new();
    for path in files {
        let top = path.split('/').next().unwrap_or(path);
        if !top.starts_with('.') && !TOP_LEVEL.contains(&top) && !seen.contains(&top) {
            seen.push(top);
            find(top, "the visible top level is fixed: this belongs into a folder".to_owned());
        }
    }
    for name in BELOW_ORIGIN {
        let clippy =
            std::fs::read_to_string(root().join(format!("crates/{name}/clippy.toml"))).unwrap_or_default();
        for method in ["std::time::Instant::now", "std::time::SystemTime::now"] {
            if !clippy.contains(method) {
                find(&format!("crates/{name}/clippy.toml"), format!("must disallow {method}"));
            }
        }
        let library =
            std::fs::read_to_string(root().join(format!("crates/{name}/src/lib.rs"))).unwrap_or_default();
        if !library.contains("#![forbid(unsafe_code)]") {
            find(&format!("crates/{name}/src/lib.rs"), "must say #![forbid(unsafe_code)]".to_owned());
        }
    }
    for (body, target) in fuzz_bodies() {
        if !files.contains(&target.as_str()) {
            find(&target, format!("the fuzz body {body} has no target"));
        }
    }
    let media: u64 = files
        .iter()
        .filter(|path| path.starts_with("sample-media/"))
        .filter_map(|path| std::fs::metadata(root().join(path)).ok())
        .map(|metadata| metadata.len())
        .sum();
    if media > SAMPLE_MEDIA_BYTES_MAX {
        find("sample-media", format!("{media} bytes; at most {SAMPLE_MEDIA_BYTES_MAX}"));
    }
    findings
}

/// The fuzz bodies of the crates, each with the path that its target must have.
fn fuzz_bodies() -> Vec<(String, String)> {
    let mut bodies = Vec::new();
    for name in BELOW_ORIGIN {
        let text =
            std::fs::read_to_string(root().join(format!("crates/{name}/src/fuzzing.rs"))).unwrap_or_default();
        let names =
            text.lines().filter_map(|line| line.strip_prefix("pub fn ")?.strip_suffix("(data: &[u8]) {"));
        for body in names {
            let path = format!("headwater_{name}::fuzzing::{body}");
            bodies.push((path, format!("crates/fuzz/fuzz_targets/{body}.rs")));
        }
    }
    bodies
}

/// Rules about the lines of one text file.
fn text_findings(path: &str, text: &str) -> Vec<Finding> {
    // Spelt in halves, or this file would break its own rule.
    let unfinished = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
    let mut findings = Vec::new();
    let mut find =
        |line: usize, rule: String| findings.push(Finding { place: format!("{path}:{line}"), rule });
    let mut last = 0;
    // Not `lines()`: it hides carriage returns.
    for (index, line) in text.strip_suffix('\n').unwrap_or(text).split('\n').enumerate() {
        last = index + 1;
        if line.ends_with([' ', '\t', '\r']) {
            find(last, "space at the end of the line".to_owned());
        }
        for word in unfinished {
            if contains_word(line, word) {
                find(last, format!("{word}: finish it or file an issue"));
            }
        }
        // A lock file that names hosts installs from them, whatever registry is configured. Cargo.lock names
        // crates.io by its index, which a configured mirror replaces.
        if path.ends_with("package-lock.json") && line.contains("\"resolved\"") {
            find(last, "names a registry host: npm install --omit-lockfile-registry-resolved".to_owned());
        }
    }
    if !text.is_empty() && !text.ends_with('\n') {
        find(last, "no line end at the end of the file".to_owned());
    }
    if text.ends_with("\n\n") {
        find(last, "empty lines at the end of the file".to_owned());
    }
    findings
}

/// Whether `word` stands in `line` with no letter, digit or underscore beside it.
fn contains_word(line: &str, word: &str) -> bool {
    let part_of_word =
        |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    line.match_indices(word).any(|(start, _)| {
        let before = start.checked_sub(1).and_then(|index| line.as_bytes().get(index));
        let after = line.as_bytes().get(start + word.len());
        !part_of_word(before) && !part_of_word(after)
    })
}

/// Says, without failing, which source files are long.
fn point_out_length(path: &str, text: &str) {
    if !path.ends_with(".rs") || path.contains("tests") {
        return;
    }
    let lines = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).count();
    if lines > LINES_BEFORE_TESTS {
        println!("{path}: {lines} lines before its tests: does it still fit one sentence?");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_text_file() {
        let unfinished = concat!("// TO", "DO: later\n");
        for (name, path, text, expected) in [
            ("clean", "a.rs", "fn main() {}\n", 0),
            ("empty", "a.rs", "", 0),
            ("space at the end", "a.rs", "fn main() {} \n", 1),
            ("tab at the end", "a.md", "text\t\n", 1),
            ("no line end", "a.rs", "fn main() {}", 1),
            ("carriage return", "a.rs", "fn main() {}\r\n", 1),
            ("two line ends", "a.rs", "fn main() {}\n\n", 1),
            ("unfinished", "a.rs", unfinished, 1),
            ("part of another word", "a.rs", concat!("let s = \"XX", "XX\";\n"), 0),
            ("registry host", "p/package-lock.json", "\"resolved\": \"https://host/x.tgz\"\n", 1),
        ] {
            assert_eq!(text_findings(path, text).len(), expected, "{name}");
        }
    }

    #[test]
    fn stray_files_are_found() {
        let stray = tree_findings(&["notes.txt", "notes.txt/x", ".gitignore", "crates/a.rs"]);
        assert_eq!(stray.iter().filter(|finding| finding.place == "notes.txt").count(), 1);
        assert!(!stray.iter().any(|finding| finding.place == "crates"));
        assert!(stray.iter().any(|finding| finding.place == "README.md"), "a missing file is found");
    }
}
