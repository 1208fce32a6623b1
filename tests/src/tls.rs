//! Certificates for a test, and what clients of TLS make of a server's.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::process::Scratch;

/// A certificate that signs itself, for 127.0.0.1, and its key.
#[derive(Debug, Clone)]
pub struct Pair {
    /// PEM file.
    pub certificate: PathBuf,
    /// PEM file.
    pub key: PathBuf,
}

impl Pair {
    /// Makes `<name>-certificate.pem` and `<name>-key.pem` in the test's folder.
    ///
    /// # Panics
    /// When they can't be made or written.
    pub fn make(scratch: &Scratch, name: &str) -> Pair {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned(), "localhost".to_owned()])
            .expect("a certificate can be made");
        let pair = Pair {
            certificate: scratch.join(&format!("{name}-certificate.pem")),
            key: scratch.join(&format!("{name}-key.pem")),
        };
        std::fs::write(&pair.certificate, made.cert.pem()).expect("the test's folder can be written");
        std::fs::write(&pair.key, made.signing_key.serialize_pem())
            .expect("the test's folder can be written");
        pair
    }

    /// The `[tls]` table that names it.
    pub fn configuration(&self) -> String {
        format!("[tls]\ncertificate = {:?}\nkey = {:?}\n", self.certificate, self.key)
    }
}

/// What `curl` wrote out of the answer to a GET for which the server shows `trusted`; `None` when there was no such answer.
/// `write_out`: as curl's option has it.
pub fn curl(trusted: &Path, version: &str, url: &str, write_out: &str) -> Option<String> {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--max-time", "20", "--output", "/dev/null", version, "--write-out", write_out]);
    curl.arg("--cacert").arg(trusted).arg(url).stdin(Stdio::null());
    let output = curl.output().expect("curl can be started; `cargo xtask deps` installs it");
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether `openssl s_client` agrees with the server on this version alone (`-tls1_1` for instance), offering any cipher there is.
pub fn agrees_on(port: u16, version: &str) -> bool {
    let mut openssl = Command::new("openssl");
    let address = format!("127.0.0.1:{port}");
    // Level 0: a client that would refuse old versions by itself shows nothing about the server.
    openssl.args(["s_client", "-connect", &address, version, "-cipher", "ALL:@SECLEVEL=0"]);
    let output = openssl.stdin(Stdio::null()).output();
    output.expect("openssl can be started; `cargo xtask deps` installs it").status.success()
}
