//! The Debian package where it is meant to be: a small Debian boots in a container with systemd as its first process, the package is
//! installed there, and the units do what docs/operate.md says. `cargo xtask test packaging_boot` makes both, as root; where no such
//! container can be had it says so and doesn't run this.

use std::fs;
use std::process::{Command, Output};
use std::time::Duration;

use headwater_tests::process::target_folder;
use headwater_tests::{Process, Scratch, media, wait_for};

/// From a start to its effect, on a machine that compiles beside the test.
const SOON: Duration = Duration::from_secs(60);

/// What somebody who asks all the time finds in between.
const PAUSE: &str = "0.01";

/// The container, with a network of its own: the server has its default ports there. Nothing of it is left on disk.
struct Machine {
    container: Process,
    /// The number of its first process, here.
    init: String,
}

impl Machine {
    fn boot(scratch: &Scratch) -> Machine {
        let target = target_folder();
        let (system, package) = (target.join("machine"), target.join("package-test"));
        assert!(
            system.is_dir() && package.join("headwater.deb").is_file(),
            "`sudo --preserve-env=PATH cargo xtask test packaging_boot` makes what this needs, and runs it"
        );
        let mut nspawn = Command::new("systemd-nspawn");
        nspawn.args(["--boot", "--register=no", "--keep-unit", "--private-network", "--volatile=overlay"]);
        nspawn.arg("--console=pipe").arg("--directory").arg(system);
        nspawn.arg(format!("--bind-ro={}:/package", package.display()));
        let mut container = Process::start("container", nspawn, scratch);
        let children = format!("/proc/{0}/task/{0}/children", container.id());
        let init = wait_for("systemd", SOON, || {
            assert_eq!(container.status(), None, "{}", container.log());
            let children = fs::read_to_string(&children).ok()?;
            let init = children.split_whitespace().next()?.to_owned();
            // Before that it is nspawn's own, which prepares the container.
            (fs::read_to_string(format!("/proc/{init}/comm")).ok()?.trim() == "systemd").then_some(init)
        });
        let machine = Machine { container, init };
        wait_for("systemd's socket", SOON, || {
            machine.try_run("test -S /run/systemd/private").0.then_some(())
        });
        assert_eq!(machine.run("systemctl is-system-running --wait || systemctl --failed").trim(), "running");
        machine
    }

    /// A command in the container, with all of its namespaces.
    fn inside(&self, script: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.init, "--all", "sh", "-c", script]);
        command
    }

    /// A command with the programs of this machine, in the container's network.
    fn beside(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.init, "--net", program]);
        command
    }

    fn try_run(&self, script: &str) -> (bool, String) {
        let Output { status, stdout, stderr } = self.inside(script).output().expect("nsenter");
        (
            status.success(),
            format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr)),
        )
    }

    fn run(&self, script: &str) -> String {
        let (succeeded, printed) = self.try_run(script);
        assert!(succeeded, "{script}: {printed}{}", self.journal());
        printed
    }

    fn journal(&self) -> String {
        self.try_run("journalctl --no-pager --unit headwater.service --unit headwater.socket").1
    }

    fn property(&self, name: &str) -> String {
        self.run(&format!("systemctl show --value --property {name} headwater.service")).trim().to_owned()
    }

    /// Status and errors of one request.
    fn status_of(&self, path: &str) -> String {
        let mut curl = self.beside("curl");
        curl.args([
            "--silent",
            "--output",
            "/dev/null",
            "--max-time",
            "20",
            "--write-out",
            "%{http_code} %{errormsg}",
        ]);
        curl.arg(format!("http://127.0.0.1:8080{path}"));
        String::from_utf8_lossy(&curl.output().expect("curl").stdout).trim().to_owned()
    }

    /// Somebody who does `once` over and over, in the container's network, until it is dropped. The log has a line for each time.
    fn over_and_over(&self, scratch: &Scratch, name: &str, once: &str) -> Process {
        let mut bash = self.beside("bash");
        // Ends between two of them, never in one.
        bash.args([
            "-c",
            &format!("trap 'over=1' TERM; until [ \"$over\" ]; do {once}; sleep {PAUSE}; done"),
        ]);
        Process::start(name, bash, scratch)
    }
}

/// The lines of a log that are not `expected`, and how many there are in all.
fn others(process: &Process, expected: &str) -> (Vec<String>, usize) {
    let log = process.log();
    let other = log.lines().filter(|line| *line != expected).map(str::to_owned).collect();
    (other, log.lines().count())
}

/// One machine's life, from the installation to its end: each step begins where the one before stopped.
#[test]
fn the_package_lives_under_systemd() {
    let scratch = Scratch::new("packaging-boot");
    let mut machine = Machine::boot(&scratch);

    installed(&machine);
    let playlist = "/live/cam/ts/media.m3u8";
    let clip = media::plain();
    let encoder = format!(
        "ffmpeg -nostdin -v error -re -stream_loop 20 -i {} -c copy -f flv rtmp://127.0.0.1/live/cam &
         wait $!; kill $! 2> /dev/null",
        clip.display()
    );
    let _encoder = machine.over_and_over(&scratch, "encoder", &encoder);
    wait_for("a playlist", SOON, || machine.status_of(playlist).starts_with("200").then_some(()));
    reloaded(&machine);
    restarted_and_upgraded(&machine, &scratch, playlist);
    stopped(&machine);
    removed(&machine);
    assert!(machine.container.stop().success(), "{}", machine.container.log());
}

/// By the package alone it runs, as nobody in particular and locked in.
fn installed(machine: &Machine) {
    // No lists of packages, no network: what it depends on is there or it fails.
    machine.run("apt-get install --quiet --yes /package/headwater.deb");
    assert_eq!(machine.run("systemctl is-active headwater.socket headwater.service"), "active\nactive\n");
    assert_eq!(machine.run("systemctl is-enabled headwater.socket headwater.service"), "enabled\nenabled\n");
    let taken_over = machine.journal().matches("the supervisor's socket").count();
    assert_eq!(taken_over, 3, "{}", machine.journal());
    let pid = machine.property("MainPID");
    let status = machine.run(&format!("cat /proc/{pid}/status"));
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).expect("a field");
        line.split_whitespace().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    let user = machine.run("id -u headwater").trim().to_owned();
    assert_ne!(user, "0");
    assert!(field("Uid:").iter().all(|id| *id == user), "{status}");
    for set in ["CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert_eq!(field(set), ["0000000000000000"], "{set}");
    }
    // With a filter of system calls.
    assert_eq!((field("NoNewPrivs:"), field("Seccomp:")), (vec!["1".to_owned()], vec!["2".to_owned()]));
    // Where systemd itself may not have that many it gives what there is.
    let limit = |pid: &str| {
        let limits = machine.run(&format!("cat /proc/{pid}/limits"));
        let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).expect("a limit");
        line.split_whitespace().nth(1).and_then(|hard| hard.parse::<u64>().ok()).expect("a number")
    };
    assert_eq!(limit(&pid), limit("1").min(65_536));
    let modes = "stat --format '%a %U %G' /var/lib/headwater /var/lib/headwater/publish.key /etc/headwater";
    assert_eq!(machine.run(modes), "700 headwater headwater\n600 headwater headwater\n750 root headwater\n");
    let key = machine.run("cat /var/lib/headwater/publish.key");
    assert!(!key.trim().is_empty() && !machine.journal().contains(key.trim()), "the journal has the key");
    // In its own view of the machine, as the kernel would let root do it: nothing but its state can be written.
    let write = |path: &str| machine.try_run(&format!("nsenter --target {pid} --mount touch {path}")).0;
    assert!(write("/var/lib/headwater/probe") && machine.try_run("rm /var/lib/headwater/probe").0);
    for path in ["/etc/headwater/probe", "/usr/probe", "/var/probe"] {
        assert!(!write(path), "{path}");
    }
}

fn reloaded(machine: &Machine) {
    machine.run("echo '# Ours.' >> /etc/headwater/headwater.toml");
    let pid = machine.property("MainPID");
    machine.run("systemctl reload headwater");
    wait_for("a reload", SOON, || machine.journal().contains("was read again").then_some(()));
    assert_eq!(machine.property("MainPID"), pid);
}

/// Nobody's connection is refused and every request answered with its playlist, while the process is exchanged by systemctl, and by dpkg.
fn restarted_and_upgraded(machine: &Machine, scratch: &Scratch, playlist: &str) {
    let url = format!("http://127.0.0.1:8080{playlist}");
    let ask = format!("curl --silent --output /dev/null --write-out '%{{http_code}}%{{errormsg}}\\n' {url}");
    let mut players = machine.over_and_over(scratch, "players", &ask);
    let connect = "(exec 3<> /dev/tcp/127.0.0.1/1935) && echo connected";
    let mut encoders = machine.over_and_over(scratch, "encoders", connect);
    let mut reader = machine.beside("ffmpeg");
    reader.args(["-nostdin", "-v", "error", "-i", &url, "-t", "20", "-c", "copy", "-f", "null", "-"]);
    let mut reader = Process::start("reader", reader, scratch);
    let is_live = || {
        wait_for("the encoder's return", SOON, || {
            let mut curl = machine.beside("curl");
            curl.args(["--silent", "http://127.0.0.1:8081/api/v1/streams"]);
            let streams = curl.output().expect("curl").stdout;
            String::from_utf8_lossy(&streams).contains("\"state\":\"live\"").then_some(())
        });
    };
    for exchange in ["systemctl restart headwater", "dpkg --install /package/headwater.deb"] {
        let before = machine.property("MainPID");
        machine.run(exchange);
        assert_ne!(machine.property("MainPID"), before, "{exchange}");
        assert_eq!(machine.property("ActiveState"), "active", "{exchange}");
        is_live();
    }
    assert!(
        machine.run("cat /etc/headwater/headwater.toml").ends_with("# Ours.\n"),
        "the configuration stays"
    );
    let status = reader.wait(SOON);
    assert!(status.success() && reader.log().is_empty(), "{status}: {}", reader.log());
    players.stop();
    encoders.stop();
    let (failed, requests) = others(&players, "200");
    let (refused, connections) = others(&encoders, "connected");
    assert!(requests > 100 && connections > 100, "{requests} {connections}");
    assert!(failed.is_empty(), "of {requests} requests: {failed:?}");
    assert!(refused.is_empty(), "of {connections} connections: {refused:?}");
}

fn stopped(machine: &Machine) {
    machine.run("systemctl stop headwater.socket headwater.service");
    assert_eq!(machine.property("Result"), "success");
    assert!(machine.status_of("/").starts_with("000"), "nobody listens");
    assert!(machine.journal().contains("server: down"), "{}", machine.journal());
    machine.run("systemctl start headwater");
    assert_eq!(machine.status_of("/"), "200");
}

/// As Debian's policy has it: a package that is removed leaves its configuration and state, one that is purged leaves neither.
fn removed(machine: &Machine) {
    machine.run("dpkg --remove headwater");
    assert!(machine.status_of("/").starts_with("000"), "nobody listens");
    assert!(!machine.try_run("test -e /usr/bin/headwater || systemctl cat headwater.service").0);
    machine.run("test -s /var/lib/headwater/publish.key -a -s /etc/headwater/headwater.toml");
    // Installed again it goes on with them.
    let key = machine.run("cat /var/lib/headwater/publish.key");
    machine.run("dpkg --install /package/headwater.deb");
    assert_eq!(
        (machine.status_of("/"), machine.run("cat /var/lib/headwater/publish.key")),
        ("200".to_owned(), key)
    );
    machine.run("dpkg --purge headwater");
    assert!(machine.status_of("/").starts_with("000"), "nobody listens");
    let left = machine.run(
        "find / -xdev -name '*headwater*' -not -path '/proc/*' -not -path '/var/log/*' -not -path '/package/*' | sort",
    );
    assert_eq!(left, "");
    machine.run("id headwater");
    assert_eq!(machine.run("systemctl is-system-running"), "running\n");
}
