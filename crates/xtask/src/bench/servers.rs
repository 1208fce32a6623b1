//! The servers that are measured: how each comes here, how it starts, and where its streams are.

use std::fs;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::root;
use crate::run::{Failure, Step};

/// A server listens within this time.
const LISTENS_WITHIN: Duration = Duration::from_secs(20);

/// How long between two looks whether it does.
const LOOK: Duration = Duration::from_millis(1);

/// The versions that are installed: figures of others could not be compared.
const NMS: &str = "node-media-server@4.4.3";
const XIU: &str = "xiu@0.14.0";

/// Room for every load of a run; all of it comes from few addresses.
const MANY: u32 = 40_000;

/// Debian's module for nginx.
const NGINX_RTMP: &str = "/usr/lib/nginx/modules/ngx_rtmp_module.so";

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Server {
    /// Receives and does nothing else.
    Floor,
    /// Headwater with HLS in MPEG-TS alone.
    HeadwaterTs,
    /// Headwater with every output.
    Headwater,
    /// nginx with its RTMP module, HLS alone; for HTTP, nginx with files.
    NginxRtmp,
    /// node-media-server, which has HTTP-FLV and no segments.
    Nms,
    /// xiu with HLS and HTTP-FLV.
    Xiu,
}

impl Server {
    pub(super) const ALL: [Server; 6] =
        [Server::Floor, Server::HeadwaterTs, Server::Headwater, Server::NginxRtmp, Server::Nms, Server::Xiu];

    pub(super) fn name(self) -> &'static str {
        match self {
            Server::Floor => "floor",
            Server::HeadwaterTs => "headwater-ts",
            Server::Headwater => "headwater",
            Server::NginxRtmp => "nginx",
            Server::Nms => "nms",
            Server::Xiu => "xiu",
        }
    }

    pub(super) fn is_headwater(self) -> bool {
        matches!(self, Server::HeadwaterTs | Server::Headwater)
    }

    /// Why it can't be measured here, if so.
    pub(super) fn missing(self) -> Option<String> {
        let is_missing = |path: &Path| (!path.exists()).then(|| format!("{} is missing", path.display()));
        let reason = match self {
            Server::Floor | Server::HeadwaterTs | Server::Headwater => None,
            Server::NginxRtmp => is_missing(Path::new(NGINX_RTMP)),
            Server::Nms => is_missing(&nms()),
            // It listens on all addresses, so it gets a network of its own.
            Server::Xiu => is_missing(&xiu()).or_else(|| {
                let may = Step::new("unshare").args(&["--net", "true"]).succeeds();
                (!may).then(|| "a network namespace can't be made".to_owned())
            }),
        };
        reason.map(|reason| format!("{reason} (cargo xtask bench install)"))
    }

    /// Starts it with a new folder, and waits until it listens.
    pub(super) fn start(self, purpose: Purpose) -> Result<Running, Failure> {
        let failure = |error: std::io::Error| Failure::new(format!("{}: {error}", self.name()));
        let folder = root().join("target/bench/run").join(self.name());
        // What a run before has left there.
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).map_err(failure)?;
        let ports = Ports::free().map_err(failure)?;
        let mut command = self.command(&folder, &ports, purpose).map_err(failure)?;
        let log = fs::File::create(folder.join("log")).map_err(failure)?;
        let errors = log.try_clone().map_err(failure)?;
        // A group of its own, so that what it starts ends with it.
        command.current_dir(&folder).stdin(Stdio::null()).stdout(log).stderr(errors).process_group(0);
        let child = command.spawn().map_err(failure)?;
        let listened_within = Duration::ZERO;
        let mut running = Running { server: self, child, ports, folder, listened_within };
        running.wait_until_listening()?;
        Ok(running)
    }

    fn command(self, folder: &Path, ports: &Ports, purpose: Purpose) -> std::io::Result<Command> {
        let Ports { rtmp, http, admin } = *ports;
        let release = root().join("target/release");
        let configuration = folder.join("configuration");
        let text = match self {
            Server::Floor => {
                let mut command = Command::new(release.join("headwater-load"));
                command.args(["sink", "--listen", &format!("127.0.0.1:{rtmp}")]);
                return Ok(command);
            }
            Server::HeadwaterTs | Server::Headwater => {
                let is_whole = self == Server::Headwater;
                let unpaced = match purpose {
                    Purpose::RealTime => "",
                    Purpose::Unpaced => "max_bitrate = \"0\"\n",
                };
                let pace = purpose == Purpose::RealTime;
                let outputs: String = ["llhls", "dash", "flv", "ts", "mp4", "rtmp"]
                    .iter()
                    .map(|output| format!("{output} = {is_whole}\n"))
                    .collect();
                format!(
                    "[rtmp]\nlisten = \"127.0.0.1:{rtmp}\"\nmax_connections = {MANY}\n\
                     max_connections_per_address = {MANY}\n{unpaced}[http]\nlisten = \"127.0.0.1:{http}\"\n\
                     max_connections = {MANY}\nmax_connections_per_address = {MANY}\nmax_held_requests = {MANY}\n\
                     max_held_requests_per_address = {MANY}\n[admin]\nlisten = \"127.0.0.1:{admin}\"\n\
                     [publish]\npace = {pace}\n[outputs]\nhls = true\n{outputs}[log]\nlevel = \"warn\"\n"
                )
            }
            Server::NginxRtmp => format!(
                "load_module {NGINX_RTMP};\nuser {user};\ndaemon off;\nworker_processes 1;\nerror_log stderr warn;\n\
                 pid {folder}/pid;\nworker_rlimit_nofile {MANY};\nevents {{ worker_connections 20000; }}\n\
                 rtmp {{ access_log off; server {{ listen 127.0.0.1:{rtmp}; chunk_size 4096;\n\
                 application live {{ live on; hls on; hls_path {files}; hls_fragment 2s; hls_playlist_length 20s; }} }} }}\n\
                 http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000; open_file_cache max=1000;\n\
                 types {{ application/vnd.apple.mpegurl m3u8; video/mp2t ts; }}\n\
                 server {{ listen 127.0.0.1:{http}; root {files};\n\
                 # Of playlists that are still written the newest is served.\n\
                 location ~ ^/[^/]+\\.m3u8$ {{ open_file_cache off; }} }} }}\n",
                user = if crate::deps::is_root() { "root" } else { "nobody" },
                folder = folder.display(),
                files = files(folder).display(),
            ),
            Server::Nms => format!(
                "{{\"bind\": \"127.0.0.1\", \"rtmp\": {{\"port\": {rtmp}}}, \"http\": {{\"port\": {http}}}, \
                 \"auth\": {{\"play\": false, \"publish\": false}}, \"record\": {{\"auto\": false, \"path\": \"record\"}}, \
                 \"store\": {{\"path\": \"data\"}}, \"notify\": {{\"url\": \"\"}}}}"
            ),
            Server::Xiu => format!(
                "[rtmp]\nenabled = true\nport = {rtmp}\n[httpflv]\nenabled = true\nport = {http}\n[hls]\nenabled = true\n\
                 port = {admin}\nneed_record = false\n[hls.s3]\nenabled = false\nbucket = \"none\"\nregion = \"none\"\n\
                 [log]\nlevel = \"warn\"\n"
            ),
        };
        fs::write(&configuration, text)?;
        let mut command;
        match self {
            Server::NginxRtmp => {
                fs::create_dir_all(files(folder))?;
                command = Command::new("nginx");
                command.arg("-p").arg(folder).arg("-c").arg(&configuration);
            }
            Server::Nms => {
                command = Command::new("node");
                command.arg(nms()).arg("--config").arg(&configuration).arg("--no-admin");
            }
            Server::Xiu => {
                command = Command::new("unshare");
                command.args(["--net", "sh", "-c", "ip link set lo up && exec \"$0\" \"$@\""]);
                command.arg(xiu()).arg("--config").arg(&configuration);
            }
            Server::Floor | Server::HeadwaterTs | Server::Headwater => {
                command = Command::new(release.join("headwater"));
                command.args(["serve", "--config"]).arg(&configuration);
            }
        }
        Ok(command)
    }
}

/// What it is started for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Publishers in real time.
    RealTime,
    /// A publisher that sends as fast as it is read.
    Unpaced,
}

struct Ports {
    rtmp: u16,
    http: u16,
    admin: u16,
}

impl Ports {
    fn free() -> std::io::Result<Ports> {
        // All are held until all are chosen, so they differ.
        let listeners = [(); 3].map(|()| TcpListener::bind(("127.0.0.1", 0)));
        let [rtmp, http, admin] =
            listeners.map(|listener| listener.and_then(|listener| Ok(listener.local_addr()?.port())));
        Ok(Ports { rtmp: rtmp?, http: http?, admin: admin? })
    }
}

/// A server that ends with this value.
pub(super) struct Running {
    server: Server,
    child: Child,
    ports: Ports,
    folder: PathBuf,
    listened_within: Duration,
}

impl Running {
    /// From its start until it listened, to [`LOOK`] or so.
    pub(super) fn listened_within(&self) -> Duration {
        self.listened_within
    }

    /// CPU time of its threads so far, in ms. What it has started itself is not in it.
    pub(super) fn cpu_ms(&self) -> Result<f64, Failure> {
        let failure = |error: std::io::Error| Failure::new(error.to_string());
        let mut nanoseconds = 0_u64;
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id())).map_err(failure)? {
            let schedstat = fs::read_to_string(task.map_err(failure)?.path().join("schedstat"));
            // A thread that has just ended.
            let Ok(schedstat) = schedstat else { continue };
            let on_cpu = schedstat.split_whitespace().next().and_then(|number| number.parse::<u64>().ok());
            nanoseconds += on_cpu.ok_or_else(|| Failure::new(format!("schedstat: {schedstat}")))?;
        }
        Ok(nanoseconds as f64 / 1e6)
    }

    pub(super) fn pid(&self) -> String {
        self.child.id().to_string()
    }

    /// Where publishers connect, up to the stream's name.
    pub(super) fn rtmp(&self) -> String {
        format!("rtmp://127.0.0.1:{}/live/", self.ports.rtmp)
    }

    /// Where players connect, up to the stream's name.
    pub(super) fn http(&self) -> String {
        format!("http://127.0.0.1:{}/live/", self.ports.http)
    }

    /// The media playlist of a stream in MPEG-TS, where there is one that is known.
    pub(super) fn ts_playlist(&self, stream: &str) -> Option<String> {
        match self.server {
            Server::HeadwaterTs | Server::Headwater => Some(format!("{}{stream}/ts/media.m3u8", self.http())),
            // A file in the folder that HTTP serves.
            Server::NginxRtmp => Some(format!("http://127.0.0.1:{}/{stream}.m3u8", self.ports.http)),
            Server::Floor | Server::Nms | Server::Xiu => None,
        }
    }

    /// Headwater's own account of its streams.
    pub(super) fn admin(&self) -> (u16, &'static str) {
        (self.ports.admin, "/api/v1/streams")
    }

    pub(super) fn http_port(&self) -> u16 {
        self.ports.http
    }

    /// Where nginx looks for files.
    pub(super) fn files(&self) -> PathBuf {
        files(&self.folder)
    }

    /// What a command must begin with in order to reach it.
    pub(super) fn inside(&self) -> Vec<String> {
        match self.server {
            Server::Xiu => vec!["nsenter".to_owned(), format!("--net=/proc/{}/ns/net", self.child.id())],
            _ => Vec::new(),
        }
    }

    /// Bytes of the media files that it has written.
    pub(super) fn bytes_in_files(&self) -> u64 {
        match self.server {
            Server::NginxRtmp => bytes_in(&files(&self.folder)),
            Server::Xiu => bytes_in(&self.folder),
            _ => 0,
        }
    }

    fn wait_until_listening(&mut self) -> Result<(), Failure> {
        let began = Instant::now();
        while !self.is_listening() {
            if let Ok(Some(status)) = self.child.try_wait() {
                let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
                let last = log.lines().last().unwrap_or_default();
                return Err(Failure::new(format!("{} ended with {status}: {last}", self.server.name())));
            }
            if began.elapsed() > LISTENS_WITHIN {
                return Err(Failure::new(format!("{} does not listen", self.server.name())));
            }
            sleep(LOOK);
        }
        self.listened_within = began.elapsed();
        Ok(())
    }

    /// As its own network says: that of xiu can't be reached from here.
    fn is_listening(&self) -> bool {
        let sockets = ["tcp", "tcp6"].map(|kind| {
            fs::read_to_string(format!("/proc/{}/net/{kind}", self.child.id())).unwrap_or_default()
        });
        listens(&sockets.concat(), self.ports.rtmp)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The leader has not been waited for, so its number cannot belong to anybody else.
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.child.wait();
        if self.server == Server::NginxRtmp {
            let _ = fs::remove_dir_all(files(&self.folder));
        }
    }
}

/// Whether a table of sockets (proc_pid_net(5)) has a listening one with this port.
fn listens(table: &str, port: u16) -> bool {
    table.lines().any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let is_port = fields.next().is_some_and(|local| local.ends_with(&format!(":{port:04X}")));
        // 0A: LISTEN.
        is_port && fields.nth(1) == Some("0A")
    })
}

/// In memory where the system has such a folder, so that no disk is measured.
fn files(folder: &Path) -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        memory.join(format!("headwater-bench-{}", std::process::id()))
    } else {
        folder.join("files")
    }
}

fn bytes_in(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_in(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

fn nms() -> PathBuf {
    root().join("target/bench/nms/node_modules/node-media-server/bin/app.js")
}

fn xiu() -> PathBuf {
    root().join("target/bench/xiu/bin/xiu")
}

/// Installs those that can be had here. Each that can't be is passed over with the reason.
pub(super) fn install() -> Result<(), Failure> {
    crate::deps::install()?;
    let passed_over = |name: &str, outcome: Result<(), Failure>| {
        if let Err(failure) = outcome {
            eprintln!("{name}: not installed: {failure}");
        }
    };
    if !Path::new(NGINX_RTMP).exists() {
        passed_over("nginx", crate::deps::install_packages(&["libnginx-mod-rtmp"]));
    }
    let folder = root().join("target/bench");
    let in_folder = |name: &str| folder.join(name).to_string_lossy().into_owned();
    if !nms().exists() {
        let npm =
            ["install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", &in_folder("nms"), NMS];
        passed_over("nms", Step::new("npm").args(&npm).run());
    }
    if !xiu().exists() {
        // A crate of a C library that it is built from asks for it.
        passed_over("xiu", crate::deps::install_packages(&["cmake", "pkg-config", "libssl-dev"]));
        let install = [
            "install",
            "--locked",
            "--root",
            &in_folder("xiu"),
            "--target-dir",
            &in_folder("xiu/build"),
            XIU,
        ];
        passed_over("xiu", Step::cargo(&install).run());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_that_listen() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue\n\
            \x20  0: 0100007F:078F 00000000:0000 0A 00000000:00000000 00:00000000\n\
            \x20  1: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000\n";
        for (port, expected) in [(1_935, true), (8_080, false), (1_936, false), (0, false)] {
            assert_eq!(listens(table, port), expected, "{port}");
        }
    }
}
