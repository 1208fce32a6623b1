//! DESIGN's dependency rule, proved over `cargo metadata`: no crate below `origin` reaches a runtime or a socket, formats never
//! import each other, the values stand on nothing of ours, and every licence is one that we allow.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Layers from the bottom up; a crate may only use crates of layers below its own.
const LAYERS: &[&[&str]] = &[
    &["headwater-media", "headwater-codec"],
    &["headwater-rtmp", "headwater-flv", "headwater-mpegts", "headwater-cmaf", "headwater-manifest"],
    &["headwater-packager"],
    &["headwater-origin"],
];

/// What no crate below `origin` may reach, on whatever path.
const RUNTIMES: &[&str] =
    &["tokio", "mio", "socket2", "hyper", "async-std", "smol", "polling", "rustix", "getrandom"];

/// Test equipment, and the load tool, which is a program of its own: nothing that the server is made of may use them.
const DEV_ONLY: &[&str] = &["headwater-load", "headwater-testkit", "headwater-xtask", "headwater-tests"];

/// The resolved dependency graph: package name -> names of what it uses outside of its tests.
struct Graph(BTreeMap<String, BTreeSet<String>>);

impl Graph {
    /// From the output of `cargo metadata --format-version 1`. Development dependencies are left out.
    fn parse(metadata: &Value) -> Graph {
        let names: BTreeMap<&str, &str> = array(&metadata["packages"])
            .filter_map(|package| Some((package["id"].as_str()?, package["name"].as_str()?)))
            .collect();
        let mut graph = BTreeMap::<String, BTreeSet<String>>::new();
        for node in array(&metadata["resolve"]["nodes"]) {
            let Some(name) = node["id"].as_str().and_then(|id| names.get(id)) else { continue };
            let used = array(&node["deps"])
                .filter(|dependency| array(&dependency["dep_kinds"]).any(|kind| kind["kind"] != "dev"))
                .filter_map(|dependency| names.get(dependency["pkg"].as_str()?))
                .map(|name| (*name).to_owned());
            // Two versions of one crate count as one: the rule is about names.
            graph.entry((*name).to_owned()).or_default().extend(used);
        }
        Graph(graph)
    }

    /// Everything that `package` reaches, with the path that leads there.
    fn reached(&self, package: &str) -> BTreeMap<String, Vec<String>> {
        let mut reached = BTreeMap::new();
        let mut open = vec![vec![package.to_owned()]];
        while let Some(path) = open.pop() {
            let Some(used) = path.last().and_then(|last| self.0.get(last)) else { continue };
            for name in used {
                if !reached.contains_key(name) {
                    let longer: Vec<String> = path.iter().chain([name]).cloned().collect();
                    reached.insert(name.clone(), longer.clone());
                    open.push(longer);
                }
            }
        }
        reached
    }

    /// Every place where the rule is broken, as a sentence.
    fn violations(&self) -> Vec<String> {
        let mut violations = Vec::new();
        for (height, layer) in LAYERS.iter().enumerate() {
            let top = height + 1 == LAYERS.len();
            for package in layer.iter().filter(|package| self.0.contains_key(**package)) {
                for (name, path) in self.reached(package) {
                    let path = path.join(" -> ");
                    if !top && RUNTIMES.contains(&name.as_str()) {
                        violations.push(format!("{package} reaches {name}: {path}"));
                    }
                    if DEV_ONLY.contains(&name.as_str()) {
                        violations.push(format!("{package} ships test equipment: {path}"));
                    }
                }
                for name in &self.0[*package] {
                    let not_below = LAYERS.iter().skip(height).any(|layer| layer.contains(&name.as_str()));
                    // The packager renders playlists, so manifest is below it; all else in one layer are siblings.
                    if not_below {
                        violations.push(format!("{package} uses {name}, which is beside or above it"));
                    }
                }
            }
        }
        violations
    }
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn metadata() -> Value {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        // Without the platform, cargo would fetch the packages of every operating system.
        .args(["metadata", "--format-version", "1", "--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON")
}

#[test]
fn crates_below_origin_reach_no_runtime_and_no_sibling() {
    let graph = Graph::parse(&metadata());
    for package in LAYERS.iter().take(2).flat_map(|layer| layer.iter()) {
        // cmaf is still to come.
        assert!(graph.0.contains_key(*package) || *package == "headwater-cmaf", "{package} is gone");
    }
    let violations = graph.violations();
    assert!(violations.is_empty(), "{}", violations.join("\n"));
    assert!(
        graph.reached("headwater-origin").contains_key("tokio"),
        "the graph does not even show origin's runtime"
    );
}

#[test]
fn the_values_stand_on_bytes_and_thiserror_alone() {
    let graph = Graph::parse(&metadata());
    for package in LAYERS[0] {
        let allowed = ["bytes", "thiserror"];
        let others: Vec<_> =
            graph.0[*package].iter().filter(|name| !allowed.contains(&name.as_str())).collect();
        assert!(others.is_empty(), "{package} uses {others:?}");
    }
}

#[test]
fn the_rule_can_fail() {
    for (name, edges, expected) in [
        ("clean", &[("headwater-flv", "headwater-media", "normal")][..], None),
        ("direct", &[("headwater-rtmp", "tokio", "normal")], Some("headwater-rtmp reaches tokio")),
        (
            "through a third",
            &[("headwater-packager", "innocent", "normal"), ("innocent", "socket2", "normal")],
            Some("headwater-packager reaches socket2: headwater-packager -> innocent -> socket2"),
        ),
        ("in a build script", &[("headwater-codec", "mio", "build")], Some("headwater-codec reaches mio")),
        ("only in tests", &[("headwater-rtmp", "tokio", "dev")], None),
        (
            "in tests and outside",
            &[("headwater-rtmp", "tokio", "dev"), ("headwater-rtmp", "tokio", "normal")],
            Some("tokio"),
        ),
        ("origin may", &[("headwater-origin", "tokio", "normal")], None),
        ("sibling", &[("headwater-mpegts", "headwater-flv", "normal")], Some("beside or above")),
        ("sibling values", &[("headwater-media", "headwater-codec", "normal")], Some("beside or above")),
        ("upwards", &[("headwater-manifest", "headwater-packager", "normal")], Some("beside or above")),
        ("test equipment", &[("headwater-origin", "headwater-testkit", "normal")], Some("test equipment")),
        ("load", &[("headwater-origin", "headwater-load", "normal")], Some("test equipment")),
    ] {
        let violations = Graph::parse(&synthetic(edges)).violations();
        match expected {
            None => assert!(violations.is_empty(), "{name}: {violations:?}"),
            Some(text) => {
                assert!(violations.iter().any(|found| found.contains(text)), "{name}: {violations:?}");
            }
        }
    }
}

/// `cargo metadata`'s shape for a graph of (package, what it uses, kind) edges.
fn synthetic(edges: &[(&str, &str, &str)]) -> Value {
    let names: BTreeSet<&str> = edges.iter().flat_map(|(from, to, _)| [*from, *to]).collect();
    let packages: Vec<Value> =
        names.iter().map(|name| serde_json::json!({ "id": format!("path#{name}"), "name": name })).collect();
    let nodes: Vec<Value> = names
        .iter()
        .map(|name| {
            let uses = edges.iter().filter(|(from, _, _)| from == name);
            let deps: Vec<Value> = uses
                .map(|(_, to, kind)| {
                    let kind = if *kind == "normal" { Value::Null } else { Value::from(*kind) };
                    serde_json::json!({ "pkg": format!("path#{to}"), "dep_kinds": [{ "kind": kind }] })
                })
                .collect();
            serde_json::json!({ "id": format!("path#{name}"), "deps": deps })
        })
        .collect();
    serde_json::json!({ "packages": packages, "resolve": { "nodes": nodes } })
}

#[test]
fn every_licence_is_allowed_by_deny_toml() {
    let rules =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../deny.toml")).expect("deny.toml");
    let allowed: BTreeSet<&str> = rules
        .lines()
        .skip_while(|line| !line.starts_with("allow = ["))
        .skip(1)
        .take_while(|line| !line.starts_with(']'))
        .map(|line| line.trim().trim_end_matches(',').trim_matches('"'))
        .collect();
    assert!(allowed.contains("MIT"), "deny.toml lists licences");
    let metadata = metadata();
    let resolved: BTreeSet<&str> =
        array(&metadata["resolve"]["nodes"]).filter_map(|node| node["id"].as_str()).collect();
    for package in array(&metadata["packages"]) {
        if !package["id"].as_str().is_some_and(|id| resolved.contains(id)) {
            continue;
        }
        let expression = package["license"].as_str().unwrap_or("none");
        assert!(licence_is_allowed(expression, &allowed), "{}: {expression}", package["name"]);
    }
    for (expression, expected) in [
        ("MIT", true),
        ("MIT/Apache-2.0", true),
        ("GPL-3.0-only OR MIT", true),
        ("GPL-3.0-only", false),
        ("MIT AND GPL-3.0-only", false),
        ("(MIT OR GPL-3.0-only) AND ISC", true),
        ("none", false),
    ] {
        assert_eq!(licence_is_allowed(expression, &allowed), expected, "{expression}");
    }
}

/// An SPDX expression holds when every AND part has one allowed alternative. Good for the nesting seen in practice.
fn licence_is_allowed(expression: &str, allowed: &BTreeSet<&str>) -> bool {
    expression
        .replace('/', " OR ")
        .replace(['(', ')'], "")
        .split(" AND ")
        .all(|part| part.split(" OR ").any(|licence| allowed.contains(licence.trim())))
}
