//! A server for whole probes: files with versions, good heads, and one tweak that spoils them.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use headwater_manifest::hls::check::Severity;
use serde_json::Value;

use crate::probe::{ProbeArgs, ProbeOutcome, run};

#[derive(Debug, Clone)]
pub(in crate::probe) struct Reply {
    pub(in crate::probe) status: u16,
    pub(in crate::probe) headers: Vec<(&'static str, String)>,
    pub(in crate::probe) body: Vec<u8>,
    pub(in crate::probe) chunked: bool,
}

impl Reply {
    pub(in crate::probe) fn set(&mut self, name: &'static str, value: &str) {
        self.unset(name);
        self.headers.push((name, value.to_owned()));
    }

    pub(in crate::probe) fn unset(&mut self, name: &str) {
        self.headers.retain(|(have, _)| *have != name);
    }
}

pub(in crate::probe) type Tweak = fn(path: &str, request: &HashMap<String, String>, reply: &mut Reply);

/// Files by path; a file with several versions gives the next one at each request that isn't conditional.
#[derive(Clone)]
pub(in crate::probe) struct Site {
    files: Arc<Mutex<HashMap<String, Vec<Vec<u8>>>>>,
    /// Answered with 404 the first time.
    hidden: Arc<Mutex<Vec<String>>>,
    tweak: Tweak,
}

impl Site {
    pub(in crate::probe) fn new(tweak: Tweak) -> Site {
        Site { files: Arc::default(), hidden: Arc::default(), tweak }
    }

    pub(in crate::probe) fn file(self, path: &str, versions: Vec<Vec<u8>>) -> Site {
        self.files.lock().unwrap().insert(path.to_owned(), versions);
        self
    }

    pub(in crate::probe) fn text(self, path: &str, text: &str) -> Site {
        self.file(path, vec![text.as_bytes().to_vec()])
    }

    /// The file at `path` comes into being with the first request for it.
    pub(in crate::probe) fn hidden_once(self, path: &str) -> Site {
        self.hidden.lock().unwrap().push(path.to_owned());
        self
    }

    /// Serves on a loopback port until the process ends.
    pub(in crate::probe) fn serve(self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let site = self.clone();
                std::thread::spawn(move || site.connection(&stream));
            }
        });
        base
    }

    fn connection(&self, stream: &TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
            let path = line.split(' ').nth(1)?.to_owned();
            let mut request = HashMap::new();
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).ok()?;
                match line.trim().split_once(": ") {
                    Some((name, value)) => request.insert(name.to_ascii_lowercase(), value.to_owned()),
                    None => break,
                };
            }
            let mut reply = self.reply(&path, &request);
            (self.tweak)(&path, &request, &mut reply);
            write(stream, &reply)?;
        }
    }

    fn reply(&self, path: &str, request: &HashMap<String, String>) -> Reply {
        let mut files = self.files.lock().unwrap();
        let mut reply = Reply { status: 200, headers: Vec::new(), body: Vec::new(), chunked: false };
        reply.set("Access-Control-Allow-Origin", "*");
        reply.set("Access-Control-Expose-Headers", "Age, Date, Content-Length");
        let mut hidden = self.hidden.lock().unwrap();
        let was_hidden = hidden.iter().position(|name| name == path).map(|at| hidden.remove(at)).is_some();
        let Some(versions) = files.get_mut(path).filter(|_| !was_hidden) else {
            reply.status = 404;
            reply.set("Cache-Control", "public, max-age=1");
            return reply;
        };
        reply.body.clone_from(&versions[0]);
        if path.ends_with(".mpd") {
            // An MPD names its clock by an absolute URL, and the port is only known now.
            let host = request.get("host").cloned().unwrap_or_default();
            let text = String::from_utf8_lossy(&reply.body);
            reply.body = text.replace("http://HOST", &format!("http://{host}")).into_bytes();
        }
        let etag = format!("\"{}-{}\"", path.len(), reply.body.iter().map(|b| u64::from(*b)).sum::<u64>());
        if request.get("if-none-match") == Some(&etag) {
            reply.status = 304;
            reply.body.clear();
        } else if versions.len() > 1 && !request.contains_key("if-none-match") {
            versions.remove(0);
        }
        reply.set("ETag", &etag);
        if path.ends_with(".m3u8") || path.ends_with(".mpd") {
            let mpd = path.ends_with(".mpd");
            let kind = if mpd { "application/dash+xml" } else { "application/vnd.apple.mpegurl" };
            reply.set("Content-Type", kind);
            reply.set("Cache-Control", "public, max-age=1");
            if request.get("accept-encoding").is_some_and(|codings| codings.contains("gzip")) {
                reply.set("Vary", "Accept-Encoding");
                if reply.status == 200 {
                    reply.set("Content-Encoding", "gzip");
                    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
                    encoder.write_all(&reply.body).unwrap();
                    reply.body = encoder.finish().unwrap();
                }
            }
        } else {
            reply.set("Content-Type", if path.ends_with(".ts") { "video/mp2t" } else { "video/mp4" });
            reply.set("Cache-Control", "public, max-age=3600, immutable");
        }
        reply
    }
}

fn write(mut stream: &TcpStream, reply: &Reply) -> Option<()> {
    let mut bytes = format!("HTTP/1.1 {} Status\r\n", reply.status).into_bytes();
    for (name, value) in &reply.headers {
        bytes.extend(format!("{name}: {value}\r\n").bytes());
    }
    if reply.chunked {
        bytes.extend(format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n", reply.body.len()).bytes());
        bytes.extend(&reply.body);
        bytes.extend(b"\r\n0\r\n\r\n");
    } else {
        if reply.status != 304 {
            bytes.extend(format!("Content-Length: {}\r\n", reply.body.len()).bytes());
        }
        bytes.extend(b"\r\n");
        bytes.extend(&reply.body);
    }
    stream.write_all(&bytes).ok()
}

pub(in crate::probe) fn nothing(_: &str, _: &HashMap<String, String>, _: &mut Reply) {}

pub(in crate::probe) fn args(url: String, json: bool) -> ProbeArgs {
    ProbeArgs { url, duration: Duration::from_secs(60), json }
}

pub(in crate::probe) struct Probed {
    pub(in crate::probe) outcome: ProbeOutcome,
    pub(in crate::probe) report: Value,
    /// Severity, rule and message of every finding.
    pub(in crate::probe) found: Vec<(String, String, String)>,
}

impl Probed {
    pub(in crate::probe) fn has(&self, severity: Severity, rule: &str, words: &str) -> bool {
        let severity = severity.to_string();
        self.found.iter().any(|(s, r, m)| *s == severity && r == rule && m.contains(words))
    }
}

pub(in crate::probe) fn probe(site: Site, path: &str) -> Probed {
    probe_for(site, path, Duration::from_secs(60))
}

pub(in crate::probe) fn probe_for(site: Site, path: &str, duration: Duration) -> Probed {
    let mut out = Vec::new();
    let args = ProbeArgs { duration, ..args(site.serve() + path, true) };
    let outcome = run(&args, &mut out).unwrap();
    let report: Value = serde_json::from_slice(&out).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let subjects = report["subjects"].as_array().cloned().unwrap_or_default();
    let findings =
        subjects.iter().flat_map(|subject| subject["findings"].as_array().cloned().unwrap_or_default());
    let found = findings.map(|f| (text(&f["severity"]), text(&f["rule"]), text(&f["message"]))).collect();
    Probed { outcome, report, found }
}
