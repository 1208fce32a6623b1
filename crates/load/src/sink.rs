//! The floor: a server that takes publications and throws them away, reading as cheaply as one thread of tokio can.
//!
//! What it uses for a stream is what any server has to pay for the bytes' way through the kernel. Everything above that is the
//! server's own doing.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use headwater_rtmp::handshake::RANDOM_BYTES;
use headwater_rtmp::{Limits, ServerConnection, ServerEvent};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::{Error, system};

/// What is read at a time, at most; as much as Headwater reads.
const READ_BYTES: usize = 64 << 10;

/// Connections that there is room for.
const CONNECTIONS_MAX: usize = 4_096;

/// A listener for publishers; with port 0 on a free one.
///
/// # Errors
/// [`Error::System`] when the address can't be listened on.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    system::make_room(CONNECTIONS_MAX)?;
    let failed = |error| Error::System { what: address.to_string(), error };
    TcpListener::bind(address).await.map_err(failed)
}

/// Takes publishers until it is dropped.
///
/// # Errors
/// [`Error::Connection`] when no more connections can be accepted.
pub async fn run(listener: TcpListener) -> Result<(), Error> {
    loop {
        let (socket, _) = listener.accept().await?;
        // How a publisher ends is its own business.
        tokio::spawn(async move { drop(swallow(socket).await) });
    }
}

/// Answers until the publication is accepted, and reads on without a look.
async fn swallow(mut socket: TcpStream) -> Result<(), Error> {
    socket.set_nodelay(true)?;
    let mut connection = ServerConnection::new(Limits::default(), [0; RANDOM_BYTES], Duration::ZERO);
    let mut input = BytesMut::with_capacity(READ_BYTES);
    let mut is_accepted = false;
    while !is_accepted {
        if socket.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
        let refused = |error: headwater_rtmp::Error| Error::Publish(error.to_string());
        connection.handle_input(&mut input, Duration::ZERO).map_err(refused)?;
        while let Some(event) = connection.poll_event() {
            if let ServerEvent::Publish(request) = event {
                connection.accept_publish(request.stream_id);
                is_accepted = true;
            }
        }
        socket.write_all(&connection.take_output()).await?;
    }
    let mut buffer = vec![0; READ_BYTES];
    while socket.read(&mut buffer).await? > 0 {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::clip::Clip;
    use crate::publish::{self, Options};
    use crate::rtmp::Writer;

    /// Both clients publish to it, in real time and faster.
    #[tokio::test]
    async fn publishers_are_swallowed() {
        let clip = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sample-media/plain.flv");
        let clip = Arc::new(Clip::open(&clip).unwrap());
        let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let url = format!("rtmp://{}/live/cam", listener.local_addr().unwrap());
        let server = tokio::spawn(run(listener));
        for (writer, is_paced) in [(Writer::Own, true), (Writer::Own, false), (Writer::RmlRtmp, true)] {
            let options = Options {
                url: url.clone(),
                publishers: 2,
                duration: Duration::from_millis(500),
                ramp: Duration::ZERO,
                settle: Duration::ZERO,
                writer,
                is_paced,
                pid: None,
            };
            let report = publish::run(&options, Arc::clone(&clip)).await.unwrap();
            assert_eq!((report.publishers, report.failed), (2, 0), "{report}");
            assert!(report.bytes > 0, "{report}");
            assert_eq!(report.lateness.is_some(), is_paced, "{report}");
        }
        server.abort();
    }
}
