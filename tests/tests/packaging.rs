//! What installs and runs Headwater: the units by systemd's own judgement, the containers as far as no Docker is needed, and
//! that all of it names files, ports and keys that exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use headwater_tests::process::read_output;
use headwater_tests::server::{binary, free_ports, try_fetch};
use headwater_tests::{Process, Scratch, media, publish, root, wait_for};
use serde_json::Value;

/// Under strace everything takes some times as long.
const SOON: Duration = Duration::from_secs(60);

/// systemd-analyze judges from 0 (nothing is open) to 100. What is left is the network, which is what the server is for.
const EXPOSURE_MAX: &str = "15";

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn run(mut command: Command) -> Output {
    command.output().unwrap_or_else(|error| {
        panic!("{:?} cannot be started ({error}); `cargo xtask deps` installs it", command.get_program())
    })
}

/// The units as they are, but with a program that is there.
fn units(scratch: &Scratch) -> [PathBuf; 2] {
    let service = read("packaging/systemd/headwater.service");
    let program = binary().display().to_string();
    assert!(service.contains("ExecStart=/usr/bin/headwater "), "what the package installs");
    let service_path = scratch.join("headwater.service");
    fs::write(&service_path, service.replace("/usr/bin/headwater", &program)).expect("a unit");
    let socket_path = scratch.join("headwater.socket");
    fs::write(&socket_path, read("packaging/systemd/headwater.socket")).expect("a unit");
    [service_path, socket_path]
}

fn verify(units: &[PathBuf]) -> (bool, String) {
    let mut analyze = Command::new("systemd-analyze");
    analyze.args(["verify", "--man=no"]).args(units);
    let output = run(analyze);
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    let scratch = Scratch::new("packaging-units");
    let units = units(&scratch);
    assert_eq!(verify(&units), (true, String::new()));
    // It would say so.
    let service = fs::read_to_string(&units[0]).expect("the unit");
    fs::write(&units[0], service.replace("LimitNOFILE=65536", "LimitNOFILES=65536")).expect("a unit");
    assert!(verify(&units).1.contains("LimitNOFILES"), "an unknown key is found");
}

#[test]
fn little_is_open_to_the_service() {
    let scratch = Scratch::new("packaging-security");
    let [service, _] = units(&scratch);
    let judge = || {
        let mut analyze = Command::new("systemd-analyze");
        analyze.args(["security", "--offline=true", "--threshold", EXPOSURE_MAX]).arg(&service);
        run(analyze)
    };
    let judged = judge();
    assert!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stdout));
    let text = fs::read_to_string(&service).expect("the unit");
    fs::write(&service, text.replace("SystemCallFilter=", "#")).expect("a unit");
    assert!(!judge().status.success(), "without a filter of system calls it is more than that");
}

#[test]
fn the_sockets_are_those_of_the_default_configuration() {
    let socket = read("packaging/systemd/headwater.socket");
    let given: BTreeSet<&str> =
        socket.lines().filter_map(|line| line.strip_prefix("ListenStream=")).collect();
    assert_eq!(given, default_addresses());
}

/// rtmp.listen, http.listen and admin.listen.
fn default_addresses() -> BTreeSet<&'static str> {
    let defaults = include_str!("../../config/headwater.toml");
    defaults.lines().filter_map(|line| line.strip_prefix("listen = \"")?.strip_suffix('"')).collect()
}

/// Under the unit's filter of system calls the kernel would refuse what is not in it; here it is looked at what is used. From the start
/// to the end with a reload and requests in between.
#[test]
fn the_filter_of_system_calls_has_all_that_are_used() {
    let unit = read("packaging/systemd/headwater.service");
    let mut allowed = BTreeSet::new();
    for line in unit.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")) {
        let (is_taken_away, groups) = line.strip_prefix('~').map_or((false, line), |groups| (true, groups));
        for call in groups.split_whitespace().flat_map(system_calls) {
            if is_taken_away {
                allowed.remove(&call);
            } else {
                allowed.insert(call);
            }
        }
    }
    assert!(allowed.contains("accept4") && !allowed.contains("reboot"), "the groups are known");
    let scratch = Scratch::new("packaging-calls");
    let used = used_system_calls(&scratch);
    assert!(used.contains("accept4"), "{used:?}");
    let refused: Vec<&String> = used.difference(&allowed).collect();
    assert!(refused.is_empty(), "{refused:?}");
}

/// What a group of `SystemCallFilter=` stands for; a call stands for itself.
fn system_calls(name: &str) -> Vec<String> {
    if !name.starts_with('@') {
        return vec![name.to_owned()];
    }
    let mut analyze = Command::new("systemd-analyze");
    analyze.args(["syscall-filter", name]);
    let listing = read_output(analyze);
    let lines =
        listing.lines().skip(1).map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.flat_map(system_calls).collect()
}

/// Of a whole life of the server, by strace.
fn used_system_calls(scratch: &Scratch) -> BTreeSet<String> {
    let report = scratch.join("calls");
    let [rtmp, http, admin]: [u16; 3] = free_ports();
    let mut strace = Command::new("strace");
    strace.args(["--follow-forks", "--summary-only", "--summary-columns=name", "--output"]).arg(&report);
    strace.arg(binary()).arg("serve").args(["--rtmp-listen", &format!("127.0.0.1:{rtmp}")]);
    strace.args(["--http-listen", &format!("127.0.0.1:{http}")]);
    strace.args(["--admin-listen", &format!("127.0.0.1:{admin}")]);
    strace.env("HEADWATER_STATE_DIR", scratch.join("state")).env("WATCHDOG_USEC", "1000000");
    let mut process = Process::start("strace", strace, scratch);
    let playlist = format!("http://127.0.0.1:{http}/live/cam/index.m3u8");
    wait_for("the server", SOON, || try_fetch(&playlist));
    let publish_url = format!("rtmp://127.0.0.1:{rtmp}/live/cam");
    let _publisher = publish::ffmpeg(scratch, "publisher", &media::plain(), 4, &publish_url);
    wait_for("a playlist", SOON, || (try_fetch(&playlist)?.status == 200).then_some(()));
    let children = format!("/proc/{0}/task/{0}/children", process.id());
    let children = fs::read_to_string(children).expect("strace's children");
    let server = children.split_whitespace().next().expect("the server is one").to_owned();
    let signal = |name: &str| {
        let mut kill = Command::new("kill");
        kill.args([name, &server]);
        assert!(run(kill).status.success(), "{name}");
    };
    signal("-HUP");
    wait_for("a reload", SOON, || process.log().contains("was read again").then_some(()));
    signal("-TERM");
    assert!(process.wait(SOON).success(), "{}", process.log());
    let report = fs::read_to_string(report).expect("strace's report");
    let names = report.lines().map(str::trim);
    names.filter(|name| is_call(name)).map(str::to_owned).collect()
}

/// Not a heading or a rule of the table.
fn is_call(line: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !matches!(line, "" | "syscall" | "total") && line.bytes().all(is_part)
}

/// docker-compose.yml with all profiles, as docker-compose itself understands it.
fn compose() -> Value {
    let mut compose = Command::new("docker-compose");
    compose.args(["--profile", "test", "--file", "docker-compose.yml", "config"]).current_dir(root());
    let resolved = read_output(compose);
    // From schemathesis's environment, which reads YAML as well.
    let mut python = Command::new(root().join("target/python/bin/python"));
    python.args(["-c", "import json, sys, yaml; print(json.dumps(yaml.safe_load(sys.argv[1])))", &resolved]);
    serde_json::from_str(&read_output(python)).expect("JSON")
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

#[test]
fn the_containers_fit_one_another() {
    let compose = compose();
    let services = compose["services"].as_object().expect("services");
    let names: Vec<&str> = services.keys().map(String::as_str).collect();
    assert_eq!(names, ["broker", "cache", "grafana", "headwater", "network", "prometheus", "publisher"]);
    for (name, service) in services {
        // One network namespace: the addresses at 127.0.0.1 in config/ are right for all.
        let expected = if name == "network" { None } else { Some("service:network") };
        assert_eq!(service["network_mode"].as_str(), expected, "{name}");
        for volume in texts(&service["volumes"]) {
            let source = volume.split(':').next().unwrap_or_default();
            let exists = if source.starts_with('/') {
                Path::new(source).is_file()
            } else {
                compose["volumes"].get(source).is_some()
            };
            assert!(exists, "{name} mounts {volume}");
        }
        if let Some(file) = service["build"]["dockerfile"].as_str() {
            let text = read(file);
            let target = service["build"]["target"].as_str();
            assert!(
                target.is_none_or(|target| text.contains(&format!(" AS {target}\n"))),
                "{name}: {target:?}"
            );
        }
    }
    let ports = services["network"]["ports"].as_array().expect("ports");
    // Some versions of docker-compose write ports in their long form.
    let inside = |port: &Value| match port.as_str() {
        Some(short) => short.trim_end_matches("/tcp").rsplit(':').next().and_then(|port| port.parse().ok()),
        None => port["target"].as_u64(),
    };
    let listening: BTreeSet<u64> = ports.iter().filter_map(inside).collect();
    // Of the server's RTMP, of nginx, and Grafana's own.
    assert_eq!(listening, BTreeSet::from([80, 1935, 3000]), "{ports:?}");
    assert!(default_addresses().contains("0.0.0.0:1935"));
    let nginx = read("config/nginx.conf");
    assert!(nginx.contains("listen 80;") && nginx.contains("server 127.0.0.1:8080;"));
    assert!(default_addresses().contains("0.0.0.0:8080"));
    assert!(read("config/prometheus.yml").contains("\"127.0.0.1:8081\""));
    assert!(default_addresses().contains("127.0.0.1:8081"));
    // Its keys of the configuration are keys.
    let environment = services["headwater"]["environment"].as_object().expect("an environment");
    let mut check = Command::new(binary());
    check.args(["check", "--config"]).arg(root().join("config/headwater.toml"));
    for (name, value) in environment {
        check.env(name, value.as_str().expect("a text"));
    }
    read_output(check);
}

#[test]
fn grafana_finds_prometheus_and_the_dashboard() {
    let compose = compose();
    let datasources = read("packaging/docker/grafana/datasources.yml");
    let prometheus = texts(&compose["services"]["prometheus"]["command"]).join(" ");
    assert!(prometheus.contains("--web.listen-address=127.0.0.1:9090"), "{prometheus}");
    assert!(datasources.contains("url: http://127.0.0.1:9090\n"));
    let folder = "/var/lib/grafana/dashboards";
    assert!(read("packaging/docker/grafana/dashboards.yml").contains(&format!("path: {folder}\n")));
    let mounted = texts(&compose["services"]["grafana"]["volumes"]);
    assert!(
        mounted.iter().any(|volume| volume.contains(&format!("config/grafana.json:{folder}/"))),
        "{mounted:?}"
    );
}

/// The lines of a Dockerfile that do something, those that are broken put together.
fn instructions(dockerfile: &str) -> Vec<String> {
    let joined = read(dockerfile).replace("\\\n", " ");
    let lines = joined.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// What the image is built from: cargo finds the whole workspace in what is copied, and every file that the code includes.
#[test]
fn the_image_is_built_from_what_is_there() {
    let scratch = Scratch::new("packaging-image");
    let instructions = instructions("packaging/docker/Dockerfile");
    let copied: Vec<&str> = instructions
        .iter()
        .filter_map(|line| line.strip_prefix("COPY "))
        .filter(|line| !line.starts_with("--from"))
        .flat_map(|line| line.split_whitespace().rev().skip(1))
        .collect();
    let mut listing = Command::new("git");
    listing.args(["ls-files", "--"]).args(&copied).current_dir(root());
    let files = read_output(listing);
    for source in &copied {
        let is_there = |file: &str| file == *source || file.starts_with(&format!("{source}/"));
        assert!(files.lines().any(is_there), "{source} is not in the project");
    }
    let ignored = read(".dockerignore");
    let ignored: Vec<&str> = ignored.lines().collect();
    for file in files.lines() {
        if ignored.iter().any(|folder| file.starts_with(&format!("{folder}/"))) {
            continue;
        }
        let to = scratch.join(file);
        fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
        fs::copy(root().join(file), to).unwrap_or_else(|error| panic!("{file}: {error}"));
    }
    let mut metadata = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    metadata.args(["metadata", "--locked", "--offline", "--format-version=1"]);
    metadata.args(["--filter-platform", "x86_64-unknown-linux-gnu"]).current_dir(scratch.path());
    assert!(read_output(metadata).contains("headwater-origin"));
    let mut included = 0;
    for file in files.lines().filter(|file| file.ends_with(".rs") && file.contains("/src/")) {
        let text = read(file);
        for path in text.split("include_").skip(1).filter_map(|rest| rest.split('"').nth(1)) {
            if path.starts_with("../") {
                let from = scratch.join(file);
                assert!(from.parent().expect("a folder").join(path).exists(), "{file} includes {path}");
                included += 1;
            }
        }
    }
    assert!(included > 3, "files that are included are found");
}

#[test]
fn the_image_runs_what_the_binary_knows() {
    let instructions = instructions("packaging/docker/Dockerfile");
    let position = |begins: &str| instructions.iter().rposition(|line| line.starts_with(begins));
    let last_stage = position("FROM ").expect("a stage");
    let of_last = |begins: &str| {
        let found = position(begins).filter(|at| *at > last_stage);
        &instructions[found.unwrap_or_else(|| panic!("the image has no {begins}"))]
    };
    assert_eq!(of_last("USER "), "USER 10935:10935");
    let arguments = |line: &str| -> Vec<String> {
        let (_, list) = line.split_once('[').expect("a list");
        serde_json::from_str(&format!("[{list}")).expect("a list of texts")
    };
    for line in [of_last("HEALTHCHECK "), of_last("CMD ")] {
        let mut help = Command::new(binary());
        help.args(arguments(line).iter().filter(|argument| *argument != "headwater")).arg("--help");
        read_output(help);
    }
    let exposed = of_last("EXPOSE ");
    for port in exposed.split_whitespace().skip(1) {
        assert!(default_addresses().contains(format!("0.0.0.0:{port}").as_str()), "{port}");
    }
    // The compiler is one that the workspace builds with.
    let version = read("Cargo.toml");
    let version = version.lines().find_map(|line| line.strip_prefix("rust-version = \"")).expect("a version");
    let version = version.trim_end_matches('"');
    assert!(instructions.iter().any(|line| line.starts_with(&format!("FROM rust:{version}-"))), "{version}");
}

/// Every address of a file in the guides and the README that is meant for this project is one.
#[test]
fn the_guides_point_at_files_that_exist() {
    for guide in ["README.md", "docs/operate.md", "docs/cdn.md", "docs/auth.md"] {
        let folder = Path::new(guide).parent().expect("a folder");
        let text = read(guide);
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://")) {
            let file = target.split('#').next().unwrap_or_default();
            assert!(file.is_empty() || root().join(folder).join(file).exists(), "{guide}: {target}");
        }
    }
}
