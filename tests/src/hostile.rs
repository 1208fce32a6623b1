//! What the hostile tests need besides a client: a server configured by its environment, what it wrote about one peer, how
//! much memory it took, and clips as tags.

pub mod cases;
pub mod mutants;
pub mod row;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use headwater_flv::{FlvReader, Tag};

use crate::process::{Process, Scratch, wait_for};
use crate::server::{binary, free_ports, try_fetch};

/// From the start of the process until `/readyz` says yes, beside a compiler.
const READY: Duration = Duration::from_secs(20);

/// What the log says for sure within this after the socket's end: the server writes the line before it closes.
const LOGGED: Duration = Duration::from_secs(3);

/// A `headwater serve` that was configured by environment variables, as containers do it.
#[derive(Debug)]
pub struct Server {
    /// The process and its log.
    pub process: Process,
    /// The RTMP port on 127.0.0.1.
    pub rtmp: u16,
    /// The playback port on 127.0.0.1.
    pub http: u16,
    admin: u16,
}

impl Server {
    /// Starts it with `variables` (without their prefix, `RTMP__HANDSHAKE_TIMEOUT`) over a configuration file that holds
    /// `file`, and waits until it is ready. Its log is `<name>.log` in the test's folder.
    ///
    /// # Panics
    /// When it does not become ready.
    pub fn start(scratch: &Scratch, name: &str, variables: &[(&str, &str)], file: &str) -> Server {
        Server::start_in(scratch, name, variables, file, &[])
    }

    /// As [`Server::start`], with further variables of the process's environment.
    ///
    /// # Panics
    /// When it does not become ready.
    pub fn start_in(
        scratch: &Scratch,
        name: &str,
        variables: &[(&str, &str)],
        file: &str,
        environment: &[(&str, &str)],
    ) -> Server {
        let [rtmp, http, admin] = free_ports();
        let path = scratch.join(&format!("{name}.toml"));
        std::fs::write(&path, file).expect("a configuration file in the test's folder");
        let mut command = Command::new(binary());
        command.arg("serve").arg("--config").arg(&path);
        for (inherited, _) in std::env::vars_os() {
            if inherited.to_string_lossy().starts_with("HEADWATER_") {
                command.env_remove(inherited);
            }
        }
        for (listener, port) in [("RTMP", rtmp), ("HTTP", http), ("ADMIN", admin)] {
            command.env(format!("HEADWATER_{listener}__LISTEN"), format!("127.0.0.1:{port}"));
        }
        command.envs(variables.iter().map(|(key, value)| (format!("HEADWATER_{key}"), value)));
        command.envs(environment.iter().copied());
        let mut process = Process::start(name, command, scratch);
        wait_for("headwater to be ready", READY, || {
            if let Some(status) = process.status() {
                panic!("headwater ended with {status}:\n{}", process.log());
            }
            let answer = try_fetch(&format!("http://127.0.0.1:{admin}/readyz"))?;
            (answer.status == 200).then_some(())
        });
        Server { process, rtmp, http, admin }
    }

    /// A path of the playback listener.
    pub fn http_url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.http)
    }

    /// A path of the admin listener.
    pub fn admin_url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.admin)
    }

    /// The multivariant playlist of `live/{name}`.
    pub fn watch_url(&self, name: &str) -> String {
        self.http_url(&format!("/live/{name}/index.m3u8"))
    }

    /// The playback listener's counters (`/api/v1/status`); null when no answer came.
    pub fn playback(&self) -> serde_json::Value {
        let answer = try_fetch(&self.admin_url("/api/v1/status"));
        let status = answer.and_then(|answer| serde_json::from_slice::<serde_json::Value>(&answer.body).ok());
        status.map(|status| status["playback"].clone()).unwrap_or_default()
    }

    /// `/api/v1/streams`; null when no answer came.
    pub fn streams(&self) -> serde_json::Value {
        let answer = try_fetch(&self.admin_url("/api/v1/streams"));
        answer.and_then(|answer| serde_json::from_slice(&answer.body).ok()).unwrap_or_default()
    }

    /// What the API tells of `live/{name}`, if there is such a stream.
    pub fn stream(&self, name: &str) -> Option<serde_json::Value> {
        let answer = try_fetch(&self.admin_url(&format!("/api/v1/streams/live/{name}")))?;
        serde_json::from_slice(&answer.body).ok().filter(|_| answer.status == 200)
    }

    /// Bytes of log written so far: a mark for [`Server::warnings`].
    pub fn log_mark(&self) -> usize {
        self.process.log().len()
    }

    /// The lines of level WARN or ERROR about the peer at `port` since `mark`, once there are `expected` of them or the log
    /// had time to be written.
    pub fn warnings(&self, mark: usize, port: u16, expected: usize) -> Vec<String> {
        let (peer, next) = (format!("peer=127.0.0.1:{port}"), |c: char| !c.is_ascii_digit());
        let deadline = Instant::now() + LOGGED;
        loop {
            let log = self.process.log();
            let lines = log.get(mark..).unwrap_or_default().lines();
            let about_peer = lines.filter(|line| {
                (line.contains(" WARN ") || line.contains(" ERROR "))
                    && line
                        .split(&peer)
                        .nth(1)
                        .is_some_and(|after| after.is_empty() || after.starts_with(next))
            });
            let found: Vec<String> = about_peer.map(str::to_owned).collect();
            if found.len() >= expected || Instant::now() >= deadline {
                return found;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Open file descriptors.
    ///
    /// # Panics
    /// When the system does not tell.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.process.id())).expect("the process runs").count()
    }

    /// A field of `/proc/PID/status` in bytes: `VmHWM` is the most memory it ever held, `VmRSS` what it holds now.
    ///
    /// # Panics
    /// When the system does not tell.
    pub fn memory_bytes(&self, field: &str) -> u64 {
        let path = format!("/proc/{}/status", self.process.id());
        let status = std::fs::read_to_string(&path).expect("the process runs");
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        kilobytes.unwrap_or_else(|| panic!("{path} tells {field}")) * 1024
    }
}

/// All tags of an FLV file.
///
/// # Panics
/// When it can't be read.
pub fn tags(path: &Path) -> Vec<Tag> {
    let file = std::fs::read(path).expect("the clip lies in sample-media");
    let reader = FlvReader::new(file.into()).expect("the clip is FLV");
    reader.collect::<Result<_, _>>().expect("the clip is whole")
}
