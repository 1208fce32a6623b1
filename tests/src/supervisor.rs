//! A supervisor that holds the server's listening sockets over its restarts, as systemd does (sd_listen_fds(3)).

use std::fmt::Write as _;
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use crate::process::{Process, Scratch, wait_for};
use crate::server::{binary, try_fetch};

/// From a start to `/readyz`, on a machine that compiles beside the test.
const READY: Duration = Duration::from_secs(20);

/// One process starts at a time: each inherits every descriptor that is open to children just then.
static STARTS: Mutex<()> = Mutex::new(());

/// Listening sockets on loopback that outlive the server.
#[derive(Debug)]
pub struct Sockets {
    /// For publishers.
    pub rtmp: TcpListener,
    /// For players.
    pub http: TcpListener,
    /// For operators.
    pub admin: TcpListener,
    /// The first two again, for TLS.
    pub tls: Option<[TcpListener; 2]>,
}

impl Sockets {
    /// Without TLS.
    #[expect(clippy::new_without_default, reason = "it takes ports")]
    pub fn new() -> Sockets {
        Sockets { rtmp: bind(), http: bind(), admin: bind(), tls: None }
    }

    /// With two for RTMPS and HTTPS.
    pub fn with_tls() -> Sockets {
        Sockets { tls: Some([bind(), bind()]), ..Sockets::new() }
    }

    /// The port of one.
    pub fn port(socket: &TcpListener) -> u16 {
        socket.local_addr().expect("a bound socket has an address").port()
    }

    /// `http://` at one of them.
    pub fn url(socket: &TcpListener, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", Sockets::port(socket))
    }

    /// The ports of RTMP, HTTP and the admin listener.
    pub fn ports(&self) -> [u16; 3] {
        [&self.rtmp, &self.http, &self.admin].map(Sockets::port)
    }

    /// `headwater serve` with the sockets as its descriptors from 3 on. `names` is LISTEN_FDNAMES.
    pub fn start(&self, scratch: &Scratch, life: &str, configuration: &Path, names: &str) -> Process {
        let sockets: Vec<&TcpListener> =
            [&self.rtmp, &self.http, &self.admin].into_iter().chain(self.tls.iter().flatten()).collect();
        // Numbers above all of ours in between: 3 and those behind it may be among those that are copied.
        let (mut aside, mut back, mut closed) = (String::new(), String::new(), String::new());
        for index in 0..sockets.len() {
            let _ = write!(aside, " {}<&${}", 203 + index, 1 + index);
            let _ = write!(back, " {}<&{}", 3 + index, 203 + index);
            let _ = write!(closed, " {}<&-", 203 + index);
        }
        let count = sockets.len();
        let script =
            format!("exec{aside} && exec{back}{closed} && shift {count} && LISTEN_PID=$$ exec \"$@\"");
        let mut command = Command::new("bash");
        command.args(["-c", &script, "start"]);
        for socket in &sockets {
            command.arg(socket.as_raw_fd().to_string());
        }
        command.arg(binary()).arg("serve").arg("--config").arg(configuration);
        command.env("LISTEN_FDS", count.to_string()).env("LISTEN_FDNAMES", names);
        let inherit = |is_inherited: bool| {
            for socket in &sockets {
                let socket = socket2::SockRef::from(*socket);
                socket.set_cloexec(!is_inherited).expect("a flag of a socket");
            }
        };
        let _alone = STARTS.lock();
        inherit(true);
        let process = Process::start(life, command, scratch);
        inherit(false);
        process
    }

    /// Waits until the process that was started with these serves.
    ///
    /// # Panics
    /// When it ends, or does not within 20 s.
    pub fn until_ready(&self, process: &mut Process) {
        let url = Sockets::url(&self.admin, "/readyz");
        wait_for("headwater to be ready", READY, || {
            assert!(process.status().is_none(), "it ended: {}", process.log());
            (try_fetch(&url)?.status == 200).then_some(())
        });
    }
}

fn bind() -> TcpListener {
    TcpListener::bind(("127.0.0.1", 0)).expect("a free loopback port")
}

/// A configuration file with these addresses and `more`: what stands in front of the first table, and further tables.
///
/// # Panics
/// When it can't be written.
pub fn configuration(scratch: &Scratch, [rtmp, http, admin]: [u16; 3], more: &str) -> PathBuf {
    let path = scratch.join("headwater.toml");
    let mut text = format!("{more}\n");
    for (table, port) in [("[rtmp]\n", rtmp), ("[http]\n", http), ("[admin]\n", admin)] {
        let with_listen = format!("{table}listen = \"127.0.0.1:{port}\"\n");
        if text.contains(table) {
            text = text.replacen(table, &with_listen, 1);
        } else {
            text.push_str(&with_listen);
        }
    }
    std::fs::write(&path, text).expect("a configuration file in the test's folder");
    path
}
