//! The server under test: the real binary on free loopback ports, ready when `start` returns.

use std::io::{Read as _, Seek as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value;

use crate::process::{Process, Scratch, wait_for};

/// From the start of the process until `/readyz` says yes; generous, because a test machine may be compiling beside it.
const READY: Duration = Duration::from_secs(20);

/// No answer of the server takes longer: the first playlist may be held for 12 s.
const ANSWER: Duration = Duration::from_secs(20);

/// A larger body than any segment of a test.
const BODY_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A running `headwater serve`.
#[derive(Debug)]
pub struct Headwater {
    /// The process, for signals and its log.
    pub process: Process,
    rtmp: u16,
    http: u16,
    admin: u16,
}

/// An HTTP answer, whatever its status.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Header fields in order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, decompressed if it was compressed.
    pub body: Vec<u8>,
}

impl Answer {
    /// The first field of this (lower-case) name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// The body as text, broken bytes replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Headwater {
    /// Starts the server with defaults, its log in the test's folder.
    pub fn start(scratch: &Scratch) -> Headwater {
        Headwater::start_with(scratch, "")
    }

    /// Starts the server with further configuration (TOML, without the three `listen` keys; their tables may be there).
    ///
    /// # Panics
    /// When it does not become ready.
    pub fn start_with(scratch: &Scratch, configuration: &str) -> Headwater {
        let [rtmp, http, admin] = free_ports();
        let path = scratch.join("headwater.toml");
        // The test's part first: keys outside tables stand before the first table.
        let mut configuration = format!("{configuration}\n");
        for (table, port) in [("[rtmp]\n", rtmp), ("[http]\n", http), ("[admin]\n", admin)] {
            let with_listen = format!("{table}listen = \"127.0.0.1:{port}\"\n");
            if configuration.contains(table) {
                configuration = configuration.replacen(table, &with_listen, 1);
            } else {
                configuration.push_str(&with_listen);
            }
        }
        std::fs::write(&path, configuration).expect("a configuration file in the test's folder");
        let process = Self::serve(&path, scratch);
        let mut server = Headwater { process, rtmp, http, admin };
        server.wait_until_ready();
        server
    }

    /// Ends the server as a shutdown does and starts it with the same configuration, on the same ports.
    ///
    /// # Panics
    /// When it does not end cleanly or does not become ready.
    pub fn restart(&mut self, scratch: &Scratch) {
        let status = self.process.stop();
        assert!(status.success(), "{status}: {}", self.process.log());
        self.start_again(scratch);
    }

    /// Ends the server in the middle of whatever it does and starts it with the same configuration, on the same ports.
    ///
    /// # Panics
    /// When it does not become ready.
    pub fn crash(&mut self, scratch: &Scratch) {
        let _ = self.process.kill();
        self.start_again(scratch);
    }

    fn start_again(&mut self, scratch: &Scratch) {
        std::fs::copy(scratch.join("headwater.log"), scratch.join("headwater-before.log"))
            .expect("its log is kept");
        self.process = Self::serve(&scratch.join("headwater.toml"), scratch);
        self.wait_until_ready();
    }

    fn serve(configuration: &Path, scratch: &Scratch) -> Process {
        let mut command = Command::new(binary());
        command.arg("serve").arg("--config").arg(configuration);
        // A developer's own settings would override the file's.
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("HEADWATER_"))
        {
            command.env_remove(name);
        }
        Process::start("headwater", command, scratch)
    }

    fn wait_until_ready(&mut self) {
        let url = self.admin_url("/readyz");
        wait_for("headwater to be ready", READY, || {
            if let Some(status) = self.process.status() {
                panic!("headwater ended with {status}:\n{}", self.process.log());
            }
            let answer = try_fetch(&url)?;
            (answer.status == 200).then_some(())
        });
    }

    /// Where a stream is published: `rtmp://127.0.0.1:PORT/live/{name}`.
    pub fn publish_url(&self, name: &str) -> String {
        format!("rtmp://127.0.0.1:{}/live/{name}", self.rtmp)
    }

    /// The RTMP port.
    pub fn rtmp_port(&self) -> u16 {
        self.rtmp
    }

    /// The HTTP port.
    pub fn http_port(&self) -> u16 {
        self.http
    }

    /// Where a stream is watched.
    pub fn watch_url(&self, name: &str) -> String {
        self.http_url(&format!("/live/{name}/index.m3u8"))
    }

    /// A path of the playback listener.
    pub fn http_url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.http)
    }

    /// Host and port of the playback listener.
    pub fn http_authority(&self) -> String {
        format!("127.0.0.1:{}", self.http)
    }

    /// A path of the admin listener.
    pub fn admin_url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.admin)
    }

    /// What `/api/v1/streams` says now.
    pub fn streams(&self) -> Value {
        serde_json::from_slice(&fetch(&self.admin_url("/api/v1/streams")).body).expect("the streams are JSON")
    }

    /// Requests that the playback listener has had so far.
    pub fn requests(&self) -> u64 {
        let status = fetch(&self.admin_url("/api/v1/status")).body;
        let status: Value = serde_json::from_slice(&status).expect("the status is JSON");
        status["playback"]["requests"].as_u64().expect("a count of requests")
    }

    /// Waits until the stream can be watched and returns its multivariant playlist.
    ///
    /// # Panics
    /// When that takes longer than `bound`.
    pub fn wait_until_playable(&self, name: &str, bound: Duration) -> String {
        let url = self.watch_url(name);
        wait_for(&format!("{url} to be playable"), bound, || {
            let answer = try_fetch(&url)?;
            (answer.status == 200).then(|| answer.text())
        })
    }
}

/// GET, any status.
///
/// # Panics
/// When no answer comes.
pub fn fetch(url: &str) -> Answer {
    try_fetch(url).unwrap_or_else(|| panic!("no answer from {url}"))
}

/// DELETE; the status.
///
/// # Panics
/// When no answer comes.
pub fn delete(url: &str) -> u16 {
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(ANSWER)).build().into();
    agent.delete(url).call().unwrap_or_else(|error| panic!("{url}: {error}")).status().as_u16()
}

/// POST of JSON; the status and the body.
///
/// # Panics
/// When no answer comes.
pub fn post_json(url: &str, json: &str) -> (u16, String) {
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(ANSWER)).build().into();
    let request = agent.post(url).header("content-type", "application/json");
    let mut answer = request.send(json).unwrap_or_else(|error| panic!("{url}: {error}"));
    (answer.status().as_u16(), answer.body_mut().read_to_string().expect("a text"))
}

/// POST of nothing, any status.
///
/// # Panics
/// When no answer comes.
pub fn post(url: &str) -> Answer {
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(ANSWER)).build().into();
    let response = agent.post(url).send_empty().unwrap_or_else(|error| panic!("{url}: {error}"));
    answer_of(response).unwrap_or_else(|error| panic!("{url}: {error}"))
}

/// GET, any status; None when no complete answer comes.
pub fn try_fetch(url: &str) -> Option<Answer> {
    fetch_or_why(url).ok()
}

/// As [`try_fetch`].
///
/// # Errors
/// Why there was no answer.
pub fn fetch_or_why(url: &str) -> Result<Answer, ureq::Error> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(ANSWER))
        .max_redirects(0)
        .build()
        .into();
    answer_of(agent.get(url).call()?)
}

fn answer_of(mut response: ureq::http::Response<ureq::Body>) -> Result<Answer, ureq::Error> {
    let headers = response.headers().iter();
    let headers = headers
        .map(|(name, value)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        })
        .collect();
    let body = response.body_mut().with_config().limit(BODY_BYTES_MAX).read_to_vec()?;
    Ok(Answer { status: response.status().as_u16(), headers, body })
}

/// Ports that nobody listens on, for servers that are to be started. They lie below those that the system gives to connections (from 32,768
/// on: ip(7)), so that none of these takes one before its server does, and no test gets one that another has been given a moment ago: which
/// was the last is known to all that run on this machine.
///
/// # Panics
/// When that can't be written down, or none is free.
pub fn free_ports<const N: usize>() -> [u16; N] {
    const FIRST: u16 = 12_000;
    const END: u16 = 32_000;
    let path = std::env::temp_dir().join("headwater-test-ports");
    let mut options = std::fs::OpenOptions::new();
    let mut last = options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    // Until this returns.
    last.lock().expect("a lock");
    let mut text = String::new();
    last.read_to_string(&mut text).expect("a number");
    let after = |port: u16| if (FIRST..END - 1).contains(&port) { port + 1 } else { FIRST };
    let mut port = text.trim().parse().unwrap_or(FIRST);
    let ports = std::array::from_fn(|_| {
        let free = (FIRST..END).find_map(|_| {
            port = after(port);
            TcpListener::bind(("127.0.0.1", port)).ok().map(|_| port)
        });
        free.expect("a free loopback port")
    });
    last.rewind().and_then(|()| last.write_all(format!("{port:<8}").as_bytes())).expect("it is written down");
    ports
}

/// The server's binary: `$TEST_HEADWATER`, or what cargo builds (at once, when it is up to date).
pub fn binary() -> &'static PathBuf {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(path) = std::env::var_os("TEST_HEADWATER") {
            return PathBuf::from(path);
        }
        let target = crate::process::target_folder();
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into()));
        cargo
            .args(["build", "--package", "headwater-origin", "--bin", "headwater", "--target-dir"])
            .arg(&target);
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        let output = cargo.current_dir(crate::root()).output().expect("cargo can be started");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
        target.join(profile).join("headwater")
    })
}

#[cfg(test)]
mod tests {
    use super::free_ports;

    #[test]
    fn no_port_is_given_twice_in_a_row() {
        let (first, second) = (free_ports::<3>(), free_ports::<3>());
        assert!(first.iter().all(|port| !second.contains(port)), "{first:?} {second:?}");
        assert!(first.iter().chain(&second).all(|port| *port < 32_768));
    }
}
