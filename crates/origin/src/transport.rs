//! A connection's bytes, in the clear or inside TLS: the one thing that both listeners' connections read from and write to.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{self as tokio_io, AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, tcp};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A connection's bytes.
#[derive(Debug)]
pub enum Transport {
    /// As they are.
    Plain(TcpStream),
    /// Inside TLS; boxed, since its state takes more than a kilobyte.
    Tls(Box<TlsStream<Counted>>),
}

impl Transport {
    /// Behind a handshake with the client, for which the caller has a deadline.
    ///
    /// # Errors
    /// What the client sent is no handshake of TLS 1.2 or 1.3, or it left.
    pub async fn handshake(stream: TcpStream, acceptor: &TlsAcceptor) -> io::Result<Transport> {
        let stream = acceptor.accept(Counted { stream, written: 0 }).await?;
        Ok(Transport::Tls(Box::new(stream)))
    }

    /// Closing will throw away what the socket still holds, and tell the peer so.
    pub fn set_zero_linger(&self) {
        // A socket that refuses this is gone already.
        let _ = self.tcp().set_zero_linger();
    }

    /// Bytes that the system has taken since the handshake. TLS holds some itself, so a write that it took says little.
    /// `None` where a write is the system's own.
    pub fn written(&self) -> Option<u64> {
        match self {
            Transport::Plain(_) => None,
            Transport::Tls(stream) => Some(stream.get_ref().0.written),
        }
    }

    /// Both directions, to be waited for at once.
    pub fn split(&mut self) -> (ReadHalf<'_>, WriteHalf<'_>) {
        match self {
            Transport::Plain(stream) => {
                let (read, write) = stream.split();
                (ReadHalf::Plain(read), WriteHalf::Plain(write))
            }
            Transport::Tls(stream) => {
                let (read, write) = tokio_io::split(stream);
                (ReadHalf::Tls(read), WriteHalf::Tls(write))
            }
        }
    }

    /// The system wakes who reads when so many bytes are there (SO_RCVLOWAT, tcp(7)), or the end. Inside TLS nothing changes: what it has
    /// taken of the next record is in no socket.
    pub fn set_low_water(&self, bytes: usize) {
        #[cfg(target_os = "linux")]
        if let Transport::Plain(stream) = self {
            use std::os::fd::AsRawFd as _;

            let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
            // SAFETY: the socket is open, and the option's value is an integer that outlives the call. A socket that refuses it wakes for each byte.
            unsafe {
                libc::setsockopt(
                    stream.as_raw_fd(),
                    libc::SOL_SOCKET,
                    libc::SO_RCVLOWAT,
                    (&raw const bytes).cast(),
                    size_of::<libc::c_int>() as libc::socklen_t,
                );
            }
        }
        #[cfg(not(target_os = "linux"))]
        let _ = bytes;
    }

    fn tcp(&self) -> &TcpStream {
        match self {
            Transport::Plain(stream) => stream,
            Transport::Tls(stream) => &stream.get_ref().0.stream,
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Transport::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Transport::Tls(stream) => Pin::new(stream).poll_read(cx, buf).map(end_of_input),
        }
    }
}

/// ffmpeg and many players close without TLS's own goodbye. RTMP and HTTP know themselves where their messages end.
fn end_of_input(read: io::Result<()>) -> io::Result<()> {
    match read {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
        read => read,
    }
}

impl AsyncWrite for Transport {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Transport::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Transport::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Transport::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Transport::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Transport::Plain(stream) => stream.is_write_vectored(),
            Transport::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Transport::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Transport::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// A socket that counts what the system takes.
#[derive(Debug)]
pub struct Counted {
    stream: TcpStream,
    written: u64,
}

impl Counted {
    fn count(&mut self, written: usize) -> usize {
        self.written = self.written.saturating_add(written as u64);
        written
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        Poll::Ready(Ok(self.count(written)))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, bufs))?;
        Poll::Ready(Ok(self.count(written)))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// What comes from the peer.
#[derive(Debug)]
pub enum ReadHalf<'a> {
    /// As it is.
    Plain(tcp::ReadHalf<'a>),
    /// Inside TLS.
    Tls(tokio_io::ReadHalf<&'a mut Box<TlsStream<Counted>>>),
}

/// What goes to the peer.
#[derive(Debug)]
pub enum WriteHalf<'a> {
    /// As it is.
    Plain(tcp::WriteHalf<'a>),
    /// Inside TLS.
    Tls(tokio_io::WriteHalf<&'a mut Box<TlsStream<Counted>>>),
}

impl AsyncRead for ReadHalf<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            ReadHalf::Plain(half) => Pin::new(half).poll_read(cx, buf),
            ReadHalf::Tls(half) => Pin::new(half).poll_read(cx, buf).map(end_of_input),
        }
    }
}

impl AsyncWrite for WriteHalf<'_> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            WriteHalf::Plain(half) => Pin::new(half).poll_write(cx, buf),
            WriteHalf::Tls(half) => Pin::new(half).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            WriteHalf::Plain(half) => Pin::new(half).poll_write_vectored(cx, bufs),
            WriteHalf::Tls(half) => Pin::new(half).poll_write_vectored(cx, bufs),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            WriteHalf::Plain(half) => Pin::new(half).poll_flush(cx),
            WriteHalf::Tls(half) => Pin::new(half).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            WriteHalf::Plain(half) => Pin::new(half).poll_shutdown(cx),
            WriteHalf::Tls(half) => Pin::new(half).poll_shutdown(cx),
        }
    }
}
