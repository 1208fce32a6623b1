//! The caches of `config/` in front of a server under test: the files as they are, with the lines marked CHANGE replaced.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::process::{Process, Scratch, read_output, wait_for};
use crate::server::{Headwater, free_ports, try_fetch};

/// Varnish compiles its configuration, with gcc, on a machine that does other things.
const READY: Duration = Duration::from_secs(40);

/// A running cache.
#[derive(Debug)]
pub struct Cache {
    /// The process, for its log.
    pub process: Process,
    port: u16,
}

impl Cache {
    /// nginx by `config/nginx.conf`.
    ///
    /// # Panics
    /// When it doesn't become ready.
    pub fn nginx(scratch: &Scratch, server: &Headwater) -> Cache {
        let [port] = free_ports();
        let user = read_output({
            let mut id = Command::new("id");
            id.arg("-un");
            id
        });
        let folder = scratch.path().display();
        // Folders that only root may write are compiled in.
        let temporary: Vec<String> = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {folder}/{kind};"))
            .into();
        let configuration = changed(
            &crate::root().join("config/nginx.conf"),
            &[
                ("user ", format!("user {};", user.trim())),
                ("pid ", format!("pid {folder}/nginx.pid;")),
                ("error_log ", "error_log stderr info;".to_owned()),
                (
                    "proxy_cache_path ",
                    format!(
                        "proxy_cache_path {folder}/cache levels=1:2 keys_zone=headwater:64m max_size=4g inactive=2m use_temp_path=off; {}",
                        temporary.join(" ")
                    ),
                ),
                ("server ", format!("server {};", server.http_authority())),
                ("listen ", format!("listen 127.0.0.1:{port};")),
            ],
        );
        let path = scratch.join("nginx.conf");
        std::fs::write(&path, configuration).expect("a configuration file in the test's folder");
        let mut nginx = Command::new("nginx");
        nginx.arg("-c").arg(&path).arg("-p").arg(scratch.path()).args(["-g", "daemon off;"]);
        Cache::ready(Process::start("nginx", nginx, scratch), port)
    }

    /// Varnish by `config/varnish.vcl`.
    ///
    /// # Panics
    /// When it doesn't become ready.
    pub fn varnish(scratch: &Scratch, server: &Headwater) -> Cache {
        let [port] = free_ports();
        let (host, server_port) = server
            .http_authority()
            .split_once(':')
            .map(|(h, p)| (h.to_owned(), p.to_owned()))
            .expect("host and port");
        let configuration = changed(
            &crate::root().join("config/varnish.vcl"),
            &[(".host ", format!(".host = \"{host}\";")), (".port ", format!(".port = \"{server_port}\";"))],
        );
        let path = scratch.join("varnish.vcl");
        std::fs::write(&path, configuration).expect("a configuration file in the test's folder");
        let mut varnish = Command::new("varnishd");
        // -j none: it may be root or not, and changes to nobody else.
        varnish.args(["-F", "-j", "none", "-s", "malloc,64m", "-a", &format!("127.0.0.1:{port}")]);
        varnish.args(["-p", "pipe_timeout=90"]);
        varnish.arg("-f").arg(&path).arg("-n").arg(scratch.join("varnish"));
        Cache::ready(Process::start("varnish", varnish, scratch), port)
    }

    fn ready(mut process: Process, port: u16) -> Cache {
        let url = format!("http://127.0.0.1:{port}/time");
        wait_for("the cache to answer", READY, || {
            if let Some(status) = process.status() {
                panic!("the cache ended with {status}:\n{}", process.log());
            }
            (try_fetch(&url)?.status == 200).then_some(())
        });
        Cache { process, port }
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A path of the server, through the cache.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }
}

/// The file with each line that is marked replaced by the one whose beginning it has.
fn changed(path: &Path, replacements: &[(&str, String)]) -> String {
    let text = std::fs::read_to_string(path).expect("a file of config/");
    let mut unused: Vec<&str> = replacements.iter().map(|(begins, _)| *begins).collect();
    let lines = text.lines().map(|line| {
        if !line.ends_with("# CHANGE") {
            return line.to_owned();
        }
        let found = replacements.iter().find(|(begins, _)| line.trim_start().starts_with(begins));
        let (begins, replacement) =
            found.unwrap_or_else(|| panic!("{}: the test doesn't know {line:?}", path.display()));
        unused.retain(|unused| unused != begins);
        replacement.clone()
    });
    let text = lines.collect::<Vec<_>>().join("\n") + "\n";
    assert!(unused.is_empty(), "{}: no line to change begins with {unused:?}", path.display());
    text
}
