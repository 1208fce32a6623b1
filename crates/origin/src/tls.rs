//! TLS for both listeners: versions 1.2 and 1.3, and one certificate that is exchanged while the process runs.
//!
//! Files whose pair doesn't fit (yet) change nothing: the one in use stays in use.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{CertificateError, ServerConfig};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::{config, looks};

/// Largest file that is read: a chain of certificates has some kilobytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What the playback listener offers by ALPN. Which one a connection speaks is told by its first bytes.
const HTTP_PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Why a certificate can't be used. Its text is one line and names the key of the configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file can't be read.
    #[error("{key} = {path:?}: {reason}")]
    Unreadable {
        /// `tls.certificate` or `tls.key`.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's words, or the limit it broke.
        reason: String,
    },
    /// A file doesn't hold what it should.
    #[error("{key} = {path:?}: {reason}")]
    Malformed {
        /// `tls.certificate` or `tls.key`.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The key is not that of the certificate.
    #[error("tls.key = {key:?}: this is not the key of the first certificate in {certificate:?}")]
    Mismatch {
        /// The key's file.
        key: PathBuf,
        /// The certificate's file.
        certificate: PathBuf,
    },
    /// The library doesn't take it.
    #[error("tls.certificate = {path:?}: {reason}")]
    Unusable {
        /// The certificate's file.
        path: PathBuf,
        /// The library's words.
        reason: String,
    },
}

/// The certificate in use, and where the next one comes from.
pub struct Certificates {
    files: Files,
    provider: Arc<CryptoProvider>,
    in_use: RwLock<Arc<CertifiedKey>>,
}

/// The files' names.
#[derive(Debug, Clone)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

/// The files' bytes.
#[derive(Clone, PartialEq, Eq)]
struct Pair {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Certificates {
    /// From the files of the configuration; `None` when it names none.
    ///
    /// # Errors
    /// [`Error`] when they can't be used.
    pub fn load(config: &config::Tls) -> Result<Option<Arc<Certificates>>, Error> {
        let Some((certificate, key)) = config.files() else { return Ok(None) };
        let files = Files { certificate: certificate.to_owned(), key: key.to_owned() };
        let provider = Arc::new(ring::default_provider());
        let certified = certified(&files, &provider, &files.read()?)?;
        Ok(Some(Arc::new(Certificates { files, provider, in_use: RwLock::new(Arc::new(certified)) })))
    }

    /// Shakes hands with players and caches: HTTP/2 and HTTP/1.1 by ALPN.
    ///
    /// # Errors
    /// [`Error::Unusable`] when the library has none of the versions.
    pub fn for_http(self: &Arc<Certificates>) -> Result<TlsAcceptor, Error> {
        self.acceptor(HTTP_PROTOCOLS.iter().map(|protocol| protocol.to_vec()).collect())
    }

    /// Shakes hands with publishers and players of RTMP, which knows no ALPN.
    ///
    /// # Errors
    /// As [`Certificates::for_http`].
    pub fn for_rtmp(self: &Arc<Certificates>) -> Result<TlsAcceptor, Error> {
        self.acceptor(Vec::new())
    }

    fn acceptor(self: &Arc<Certificates>, alpn_protocols: Vec<Vec<u8>>) -> Result<TlsAcceptor, Error> {
        let builder = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(|error| self.unusable(&error))?;
        let resolver = Arc::clone(self) as Arc<dyn ResolvesServerCert>;
        let mut config = builder.with_no_client_auth().with_cert_resolver(resolver);
        config.alpn_protocols = alpn_protocols;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    fn unusable(&self, error: &rustls::Error) -> Error {
        Error::Unusable { path: self.files.certificate.clone(), reason: error.to_string() }
    }

    /// Looks at the files until `shutdown` turns true, and uses what has come there.
    pub async fn follow(self: Arc<Certificates>, shutdown: watch::Receiver<bool>) {
        let files = self.files.clone();
        looks::follow(move || files.read(), shutdown, |pair| self.take(pair)).await;
    }

    /// Looks at once.
    pub fn look(&self) {
        self.take(self.files.read());
    }

    fn take(&self, pair: Result<Pair, Error>) {
        match pair.and_then(|pair| certified(&self.files, &self.provider, &pair)) {
            Ok(certified) => self.put_in_use(certified),
            Err(error) => {
                tracing::error!(%error, "the certificate can't be exchanged; the one before stays in use");
            }
        }
    }

    fn put_in_use(&self, certified: CertifiedKey) {
        let mut in_use = self.in_use.write().unwrap_or_else(PoisonError::into_inner);
        if in_use.cert != certified.cert {
            *in_use = Arc::new(certified);
            tracing::info!(path = %self.files.certificate.display(), "another certificate is in use");
        }
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.in_use.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Files {
    fn read(&self) -> Result<Pair, Error> {
        let read = |key, path: &Path| {
            let unreadable = |reason| Error::Unreadable { key, path: path.to_owned(), reason };
            looks::read(path, FILE_BYTES_MAX).map_err(unreadable)
        };
        Ok(Pair {
            certificate: read("tls.certificate", &self.certificate)?,
            key: read("tls.key", &self.key)?,
        })
    }
}

/// A certificate with its chain and its key, when they fit.
fn certified(files: &Files, provider: &CryptoProvider, pair: &Pair) -> Result<CertifiedKey, Error> {
    let malformed = |key: &'static str, path: &Path, reason: String| Error::Malformed {
        key,
        path: path.to_owned(),
        reason,
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&pair.certificate)
        .collect::<Result<_, _>>()
        .map_err(|error| malformed("tls.certificate", &files.certificate, error.to_string()))?;
    if chain.is_empty() {
        let reason = "there is no certificate in this file; PEM is expected".to_owned();
        return Err(malformed("tls.certificate", &files.certificate, reason));
    }
    // Its words could quote the key.
    let key = PrivateKeyDer::from_pem_slice(&pair.key).map_err(|_| {
        let reason = "there is no private key in this file; unencrypted PEM is expected".to_owned();
        malformed("tls.key", &files.key, reason)
    })?;
    CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            Error::Mismatch { key: files.key.clone(), certificate: files.certificate.clone() }
        }
        rustls::Error::InvalidCertificate(CertificateError::BadEncoding) => {
            malformed("tls.certificate", &files.certificate, "the first certificate is damaged".to_owned())
        }
        error => Error::Unusable { path: files.certificate.clone(), reason: error.to_string() },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of this test's own, with `certificate.pem` and `key.pem`.
    fn files(name: &str, certificate: &str, key: &str) -> config::Tls {
        let folder = std::env::temp_dir().join(format!("headwater-tls-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = |file: &str| folder.join(file).to_str().unwrap().to_owned();
        std::fs::write(path("certificate.pem"), certificate).unwrap();
        std::fs::write(path("key.pem"), key).unwrap();
        config::Tls { certificate: path("certificate.pem"), key: path("key.pem") }
    }

    #[test]
    fn pairs_that_can_t_be_used() {
        let made = || rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (one, other) = (made(), made());
        let (cert, key) = (one.cert.pem(), one.signing_key.serialize_pem());
        let damaged = cert.replace("MII", "AAA");
        for (name, certificate, key, expected) in [
            ("fits", &*cert, &*key, None),
            (
                "mismatch",
                &*cert,
                &*other.signing_key.serialize_pem(),
                Some("this is not the key of the first certificate"),
            ),
            ("swapped", &*key, &*cert, Some("there is no certificate in this file; PEM is expected")),
            ("no key", &*cert, "", Some("there is no private key in this file; unencrypted PEM is expected")),
            ("empty", "", &*key, Some("there is no certificate in this file; PEM is expected")),
            ("cut", &cert[..cert.len() / 2], &*key, Some("tls.certificate = ")),
            ("damaged", &*damaged, &*key, Some("tls.certificate = ")),
        ] {
            let config = files(name, certificate, key);
            let error = Certificates::load(&config).err().map(|error| error.to_string());
            match expected {
                None => assert_eq!(error, None, "{name}"),
                Some(expected) => {
                    let error = error.unwrap_or_else(|| panic!("{name}: accepted"));
                    assert!(error.contains(expected) && !error.contains('\n'), "{name}: {error}");
                    assert!(!error.contains("PRIVATE"), "{name}: {error}");
                }
            }
            std::fs::remove_dir_all(Path::new(&config.key).parent().unwrap()).unwrap();
        }
        let missing =
            config::Tls { certificate: "/nowhere/c.pem".to_owned(), key: "/nowhere/k.pem".to_owned() };
        let error = Certificates::load(&missing).unwrap_err().to_string();
        assert_eq!(error, "tls.certificate = \"/nowhere/c.pem\": No such file or directory (os error 2)");
        assert!(Certificates::load(&config::Tls::default()).unwrap().is_none());
    }
}
