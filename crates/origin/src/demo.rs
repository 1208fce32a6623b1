//! `headwater demo`: a clip in an endless loop through the real RTMP port, so that a picture plays at once.
//!
//! The client is rml_rtmp's: it meets our server as any encoder does. It only ever sees our own bytes over loopback.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use headwater_flv::{FlvReader, Tag, TagKind};
use rml_rtmp::handshake::{Handshake, HandshakeProcessResult, PeerType};
use rml_rtmp::sessions::{
    ClientSession, ClientSessionConfig, ClientSessionEvent, ClientSessionResult, PublishRequestType,
};
use rml_rtmp::time::RtmpTimestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::Error;
use crate::config::Secret;

/// Where the demo publishes.
const APP: &str = "live";
const STREAM: &str = "demo";

/// The clip that comes with the program.
static CLIP: &[u8] = include_bytes!("../../../sample-media/clip.flv");

/// Pause before the next try when the connection was lost.
const RETRY: Duration = Duration::from_secs(1);

/// An FLV file's tags, ready to be repeated for ever.
#[derive(Debug)]
pub struct Clip {
    tags: Vec<Tag>,
    length_ms: u64,
}

impl Clip {
    /// The clip that comes with the program.
    ///
    /// # Errors
    /// [`Error::Other`] if it is damaged, which a test rules out.
    pub fn built_in() -> Result<Clip, Error> {
        Clip::parse(Bytes::from_static(CLIP))
            .map_err(|reason| Error::Other(format!("built-in clip: {reason}")))
    }

    /// A clip from an FLV file with H.264 and AAC.
    ///
    /// # Errors
    /// [`Error::Other`] when it can't be read, or holds no media.
    pub fn open(path: &Path) -> Result<Clip, Error> {
        let failed = |reason: String| Error::Other(format!("--media {}: {reason}", path.display()));
        let file = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
        Clip::parse(Bytes::from(file)).map_err(failed)
    }

    fn parse(file: Bytes) -> Result<Clip, String> {
        let reader = FlvReader::new(file).map_err(|error| error.to_string())?;
        let tags = reader.collect::<Result<Vec<Tag>, _>>().map_err(|error| error.to_string())?;
        let stamps = |kind: TagKind| {
            let mut stamps: Vec<u32> =
                tags.iter().filter(|tag| tag.kind == kind).map(|tag| tag.timestamp_ms).collect();
            stamps.dedup();
            stamps
        };
        let mut stamps_of_main = stamps(TagKind::Video);
        if stamps_of_main.len() < 2 {
            stamps_of_main = stamps(TagKind::Audio);
        }
        let (Some(first), Some(last)) = (stamps_of_main.first(), stamps_of_main.last()) else {
            return Err("no video and no audio in it".to_owned());
        };
        // The last frame lasts as long as the others do on average.
        let intervals = u64::try_from(stamps_of_main.len()).unwrap_or(2).saturating_sub(1).max(1);
        let span = u64::from(last.saturating_sub(*first));
        let length_ms = span + (span + intervals / 2) / intervals;
        if length_ms == 0 { Err("it has no duration".to_owned()) } else { Ok(Clip { tags, length_ms }) }
    }
}

/// Tells a person where to look.
#[expect(clippy::print_stdout, reason = "the command's own answer")]
pub fn announce(http: SocketAddr, rtmp: SocketAddr) {
    let (http, rtmp) = (http.port(), rtmp.port());
    println!(
        "A clip is published to  rtmp://localhost:{rtmp}/{APP}/{STREAM}\n\
         Watch it in a browser   http://localhost:{http}/\n\
         or in VLC, ffplay ...   http://localhost:{http}/{APP}/{STREAM}/index.m3u8\n\
         Publish your own with   ffmpeg -re -i FILE -c:v libx264 -c:a aac -f flv rtmp://localhost:{rtmp}/{APP}/cam\n\
         Ctrl-C ends it."
    );
}

/// Publishes the clip to the server at `address` until `shutdown` turns true.
pub async fn publish(
    clip: Clip,
    address: SocketAddr,
    key: Option<Secret>,
    mut shutdown: watch::Receiver<bool>,
) {
    let stream = match key {
        Some(key) => format!("{STREAM}?key={}", key.expose()),
        None => STREAM.to_owned(),
    };
    loop {
        tokio::select! {
            result = publish_once(&clip, address, &stream) => {
                if let Err(error) = result {
                    tracing::warn!(error, "the demo's publisher was interrupted; it tries again");
                }
            }
            _ = shutdown.wait_for(|down| *down) => return,
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// One connection of the client; returns only with an error.
async fn publish_once(clip: &Clip, address: SocketAddr, stream: &str) -> Result<(), String> {
    let socket = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    let mut client = Client { socket, session: None };
    let early = client.handshake().await?;
    client.open(early, stream).await?;
    let start = Instant::now();
    for turn in 0_u64.. {
        for tag in &clip.tags {
            let at_ms = turn * clip.length_ms + u64::from(tag.timestamp_ms);
            tokio::time::sleep_until(start + Duration::from_millis(at_ms)).await;
            // Modulo 2^32, as the protocol has it.
            let stamp = RtmpTimestamp::new(u32::try_from(at_ms & u64::from(u32::MAX)).unwrap_or(0));
            client.send(tag, stamp).await?;
        }
    }
    Ok(())
}

struct Client {
    socket: TcpStream,
    session: Option<ClientSession>,
}

impl Client {
    /// Returns what the server sent behind its handshake.
    async fn handshake(&mut self) -> Result<Vec<u8>, String> {
        let mut handshake = Handshake::new(PeerType::Client);
        let hello = handshake.generate_outbound_p0_and_p1().map_err(|error| format!("{error:?}"))?;
        self.write(&hello).await?;
        loop {
            let bytes = self.read().await?;
            match handshake.process_bytes(&bytes).map_err(|error| format!("{error:?}"))? {
                HandshakeProcessResult::InProgress { response_bytes } => self.write(&response_bytes).await?,
                HandshakeProcessResult::Completed { response_bytes, remaining_bytes } => {
                    self.write(&response_bytes).await?;
                    return Ok(remaining_bytes);
                }
            }
        }
    }

    async fn open(&mut self, early: Vec<u8>, stream: &str) -> Result<(), String> {
        let mut config = ClientSessionConfig::new();
        config.flash_version = concat!("headwater-demo/", env!("CARGO_PKG_VERSION")).to_owned();
        let (mut session, mut results) = ClientSession::new(config).map_err(|error| error.to_string())?;
        results.push(session.request_connection(APP.to_owned()).map_err(|error| error.to_string())?);
        results.extend(session.handle_input(&early).map_err(|error| error.to_string())?);
        loop {
            for result in std::mem::take(&mut results) {
                match result {
                    ClientSessionResult::OutboundResponse(packet) => self.write(&packet.bytes).await?,
                    ClientSessionResult::RaisedEvent(event) => match event {
                        ClientSessionEvent::ConnectionRequestAccepted => {
                            let request =
                                session.request_publishing(stream.to_owned(), PublishRequestType::Live);
                            results.push(request.map_err(|error| error.to_string())?);
                        }
                        ClientSessionEvent::PublishRequestAccepted => {
                            self.session = Some(session);
                            return Ok(());
                        }
                        ClientSessionEvent::ConnectionRequestRejected { description } => {
                            return Err(description);
                        }
                        ClientSessionEvent::UnhandleableOnStatusCode { code } => return Err(code),
                        _ => {}
                    },
                    ClientSessionResult::UnhandleableMessageReceived(_) => {}
                }
            }
            if results.is_empty() {
                let bytes = self.read().await?;
                results = session.handle_input(&bytes).map_err(|error| error.to_string())?;
            }
        }
    }

    async fn send(&mut self, tag: &Tag, stamp: RtmpTimestamp) -> Result<(), String> {
        let Some(session) = &mut self.session else { return Err("not publishing".to_owned()) };
        let body = tag.body.clone();
        let mut results = match tag.kind {
            TagKind::Video => {
                vec![session.publish_video_data(body, stamp, false).map_err(|error| error.to_string())?]
            }
            TagKind::Audio => {
                vec![session.publish_audio_data(body, stamp, false).map_err(|error| error.to_string())?]
            }
            // The clip's metadata says nothing that its media doesn't.
            TagKind::Data => Vec::new(),
        };
        // Acknowledgements and pings are taken as they come, without waiting for any.
        let mut buffer = [0; 4_096];
        match self.socket.try_read(&mut buffer) {
            Ok(0) => return Err("the server closed the connection".to_owned()),
            Ok(bytes) => {
                let input = buffer.get(..bytes).unwrap_or_default();
                results.extend(session.handle_input(input).map_err(|error| error.to_string())?);
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.to_string()),
        }
        for result in results {
            if let ClientSessionResult::OutboundResponse(packet) = result {
                self.write(&packet.bytes).await?;
            }
        }
        Ok(())
    }

    async fn read(&mut self) -> Result<Vec<u8>, String> {
        let mut buffer = vec![0; 4_096];
        let bytes = self.socket.read(&mut buffer).await.map_err(|error| error.to_string())?;
        if bytes == 0 {
            return Err("the server closed the connection".to_owned());
        }
        buffer.truncate(bytes);
        Ok(buffer)
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.socket.write_all(bytes).await.map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_clip_loops_without_a_seam() {
        let clip = Clip::built_in().unwrap();
        assert_eq!(clip.length_ms, 16_000);
        assert!(clip.tags.iter().all(|tag| u64::from(tag.timestamp_ms) < clip.length_ms));
    }

    #[test]
    fn what_is_no_clip_is_refused_with_the_reason() {
        let error = Clip::open(Path::new("Cargo.toml")).unwrap_err().to_string();
        assert!(error.starts_with("--media Cargo.toml: "), "{error}");
        let error = Clip::open(Path::new("no-such-file")).unwrap_err().to_string();
        assert!(error.contains("no-such-file"), "{error}");
    }
}
