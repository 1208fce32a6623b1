//! Asking others over HTTP: one request on one connection, for answers of a known size. Who calls has a deadline.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Why there is no answer. Its text is one line; it names no part of a URL, whose query can be secret.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not `http://` or `https://` and a host.
    #[error("not the address of an HTTP server")]
    Address,
    /// No connection, or it broke.
    #[error("no connection: {0}")]
    Io(#[from] std::io::Error),
    /// What came is not HTTP, or ended early.
    #[error("no answer: {0}")]
    Http(#[from] hyper::Error),
    /// The answer is too large, or broke.
    #[error("no whole answer: {0}")]
    Body(String),
    /// Another status than 200.
    #[error("the answer is {0}")]
    Status(StatusCode),
    /// The file with roots can't be used.
    #[error("{0}")]
    Roots(String),
}

/// Whom TLS trusts.
#[derive(Clone)]
pub struct Client {
    tls: TlsConnector,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

impl Client {
    /// Trusts the public roots, and those of a PEM file if one is named.
    ///
    /// # Errors
    /// [`Error::Roots`].
    pub fn new(roots_file: &str) -> Result<Client, Error> {
        let mut roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        if !roots_file.is_empty() {
            let unusable = |reason: String| Error::Roots(format!("{roots_file:?}: {reason}"));
            let certificates = CertificateDer::pem_file_iter(roots_file)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .map_err(|error| unusable(error.to_string()))?;
            if roots.add_parsable_certificates(certificates).0 == 0 {
                return Err(unusable("there is no certificate in this file; PEM is expected".to_owned()));
            }
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::Roots(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Client { tls: TlsConnector::from(Arc::new(config)) })
    }

    /// The body of the answer 200 to a GET, of `bytes_max` at most.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn get(&self, url: &str, bytes_max: usize) -> Result<Bytes, Error> {
        let (status, body) = self.ask(Method::GET, url, &[], Bytes::new(), bytes_max).await?;
        if status == StatusCode::OK { Ok(body) } else { Err(Error::Status(status)) }
    }

    /// Status and body of the answer to a POST.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn post(
        &self,
        url: &str,
        headers: &[(HeaderName, HeaderValue)],
        body: Bytes,
        bytes_max: usize,
    ) -> Result<(StatusCode, Bytes), Error> {
        self.ask(Method::POST, url, headers, body, bytes_max).await
    }

    async fn ask(
        &self,
        method: Method,
        url: &str,
        headers: &[(HeaderName, HeaderValue)],
        body: Bytes,
        bytes_max: usize,
    ) -> Result<(StatusCode, Bytes), Error> {
        let url: Uri = url.parse().map_err(|_| Error::Address)?;
        let authority = url.authority().ok_or(Error::Address)?;
        let is_secure = match url.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(Error::Address),
        };
        let path = url.path_and_query().map_or("/", |path| path.as_str());
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().map_err(|_| Error::Address)?;
        // Without a user's name and password, which belong to no Host.
        let host = authority.as_str().rsplit('@').next().unwrap_or_default();
        request.headers_mut().insert(header::HOST, HeaderValue::try_from(host).map_err(|_| Error::Address)?);
        request.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static("headwater"));
        request.headers_mut().extend(headers.iter().cloned());

        let name = authority.host().trim_start_matches('[').trim_end_matches(']');
        let port = authority.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
        let stream = TcpStream::connect((name, port)).await?;
        if is_secure {
            let name = ServerName::try_from(name.to_owned()).map_err(|_| Error::Address)?;
            exchange(self.tls.connect(name, stream).await?, request, bytes_max).await
        } else {
            exchange(stream, request, bytes_max).await
        }
    }
}

async fn exchange<S>(
    stream: S,
    request: Request<Full<Bytes>>,
    bytes_max: usize,
) -> Result<(StatusCode, Bytes), Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let answer = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), bytes_max).collect().await;
        Ok((status, body.map_err(|error| Error::Body(error.to_string()))?.to_bytes()))
    };
    // Both here, so that a caller who gives up leaves nothing behind.
    let mut connection = std::pin::pin!(connection);
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        answer = answer.as_mut() => answer,
        ended = connection.as_mut() => {
            ended?;
            // What was read before the end is there.
            answer.await
        }
    }
}
