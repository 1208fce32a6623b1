//! An RTMP publisher over one socket: as little as a server needs in order to take a stream.

use bytes::{Bytes, BytesMut};
use headwater_flv::{Tag, TagKind};
use headwater_rtmp::amf0::Value;
use headwater_rtmp::message::type_id;
use headwater_rtmp::{ChunkReader, ChunkWriter, Command, Limits};
use rml_rtmp::handshake::{Handshake, HandshakeProcessResult, PeerType};
use rml_rtmp::sessions::{
    ClientSession, ClientSessionConfig, ClientSessionEvent, ClientSessionResult, PublishRequestType,
};
use rml_rtmp::time::RtmpTimestamp;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::Error;
use crate::address::Address;

/// As OBS and ffmpeg do after their first commands; larger chunks would be kinder to the server than encoders are.
const CHUNK_SIZE: u32 = 4_096;

/// Version and the two blocks of the handshake.
const HANDSHAKE_BLOCK: usize = 1_536;

/// Chunk streams as ffmpeg uses them.
const CSID_COMMAND: u32 = 3;
const CSID_AUDIO: u32 = 4;
const CSID_VIDEO: u32 = 6;

/// Who speaks RTMP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Writer {
    /// The chunk writer of this project: cheap, so that the server is what is measured.
    Own,
    /// rml_rtmp's client: nobody here wrote it.
    RmlRtmp,
}

/// A connection that publishes.
pub struct Session {
    socket: TcpStream,
    speaker: Speaker,
    out: BytesMut,
}

enum Speaker {
    Own { writer: ChunkWriter, stream_id: u32 },
    RmlRtmp(Box<ClientSession>),
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("socket", &self.socket).finish_non_exhaustive()
    }
}

impl Session {
    /// Connects and publishes at `rtmp://HOST/APP/STREAM`.
    ///
    /// # Errors
    /// [`Error::Connection`], and [`Error::Publish`] when the server does not take the stream.
    pub async fn open(address: &Address, writer: Writer) -> Result<Session, Error> {
        let path = address.path.trim_start_matches('/');
        let (app, stream) =
            path.rsplit_once('/').ok_or_else(|| Error::Publish(format!("no APP/STREAM in {path:?}")))?;
        let socket = TcpStream::connect(address.socket()).await?;
        socket.set_nodelay(true)?;
        match writer {
            Writer::Own => Session::open_own(socket, &address.authority, app, stream).await,
            Writer::RmlRtmp => Session::open_rml_rtmp(socket, app, stream).await,
        }
    }

    async fn open_own(
        mut socket: TcpStream,
        authority: &str,
        app: &str,
        stream: &str,
    ) -> Result<Session, Error> {
        let mut hello = vec![0; 1 + HANDSHAKE_BLOCK];
        if let Some(version) = hello.first_mut() {
            *version = 3;
        }
        socket.write_all(&hello).await?;
        let mut answer = vec![0; 1 + 2 * HANDSHAKE_BLOCK];
        socket.read_exact(&mut answer).await?;
        socket.write_all(answer.get(1..=HANDSHAKE_BLOCK).unwrap_or_default()).await?;

        let mut talk = Talk::new(socket);
        let object = Value::object([
            ("app", Value::string(app)),
            ("type", Value::string("nonprivate")),
            ("flashVer", Value::string(concat!("headwater-load/", env!("CARGO_PKG_VERSION")))),
            ("tcUrl", Value::string(format!("rtmp://{authority}/{app}"))),
        ]);
        talk.writer.set_chunk_size(CHUNK_SIZE, &mut talk.out);
        talk.command("connect", 1.0, 0, object, vec![]).await?;
        talk.answer(1.0).await?;
        talk.command("createStream", 2.0, 0, Value::Null, vec![]).await?;
        let created = talk.answer(2.0).await?;
        let stream_id = created.arguments.first().and_then(Value::as_u32);
        let stream_id =
            stream_id.ok_or_else(|| Error::Publish("createStream without a number".to_owned()))?;
        let arguments = vec![Value::string(stream), Value::string("live")];
        talk.command("publish", 3.0, stream_id, Value::Null, arguments).await?;
        talk.status("NetStream.Publish.Start").await?;
        let Talk { socket, writer, out, .. } = talk;
        Ok(Session { socket, speaker: Speaker::Own { writer, stream_id }, out })
    }

    async fn open_rml_rtmp(socket: TcpStream, app: &str, stream: &str) -> Result<Session, Error> {
        let refused = |error: String| Error::Publish(error);
        let mut session = Session::begin_rml_rtmp(socket).await?;
        let Speaker::RmlRtmp(speaker) = &mut session.0.speaker else {
            return Err(refused("no session".to_owned()));
        };
        let mut results = session.1;
        results.push(speaker.request_connection(app.to_owned()).map_err(|error| refused(error.to_string()))?);
        let socket = &mut session.0.socket;
        loop {
            for result in std::mem::take(&mut results) {
                match result {
                    ClientSessionResult::OutboundResponse(packet) => socket.write_all(&packet.bytes).await?,
                    ClientSessionResult::RaisedEvent(ClientSessionEvent::ConnectionRequestAccepted) => {
                        let request = speaker.request_publishing(stream.to_owned(), PublishRequestType::Live);
                        results.push(request.map_err(|error| refused(error.to_string()))?);
                    }
                    ClientSessionResult::RaisedEvent(ClientSessionEvent::PublishRequestAccepted) => {
                        return Ok(session.0);
                    }
                    ClientSessionResult::RaisedEvent(ClientSessionEvent::ConnectionRequestRejected {
                        description,
                    }) => {
                        return Err(refused(description));
                    }
                    ClientSessionResult::RaisedEvent(ClientSessionEvent::UnhandleableOnStatusCode {
                        code,
                    }) => {
                        return Err(refused(code));
                    }
                    _ => {}
                }
            }
            if results.is_empty() {
                let input = read(socket).await?;
                results = speaker.handle_input(&input).map_err(|error| refused(error.to_string()))?;
            }
        }
    }

    /// The handshake, and what the server sent behind it.
    async fn begin_rml_rtmp(mut socket: TcpStream) -> Result<(Session, Vec<ClientSessionResult>), Error> {
        let refused = |error: &dyn std::fmt::Debug| Error::Publish(format!("{error:?}"));
        let mut handshake = Handshake::new(PeerType::Client);
        let hello = handshake.generate_outbound_p0_and_p1().map_err(|error| refused(&error))?;
        socket.write_all(&hello).await?;
        let early = loop {
            let input = read(&mut socket).await?;
            match handshake.process_bytes(&input).map_err(|error| refused(&error))? {
                HandshakeProcessResult::InProgress { response_bytes } => {
                    socket.write_all(&response_bytes).await?;
                }
                HandshakeProcessResult::Completed { response_bytes, remaining_bytes } => {
                    socket.write_all(&response_bytes).await?;
                    break remaining_bytes;
                }
            }
        };
        let config = ClientSessionConfig::new();
        let (mut session, mut results) = ClientSession::new(config).map_err(|error| refused(&error))?;
        results.extend(session.handle_input(&early).map_err(|error| refused(&error))?);
        let speaker = Speaker::RmlRtmp(Box::new(session));
        Ok((Session { socket, speaker, out: BytesMut::new() }, results))
    }

    /// Puts one tag, stamped `at_ms`, behind what is to be written.
    ///
    /// # Errors
    /// [`Error::Connection`], [`Error::Publish`].
    pub fn queue(&mut self, tag: &Tag, at_ms: u64) -> Result<(), Error> {
        // Modulo 2^32, as the protocol has it.
        let stamp = u32::try_from(at_ms & u64::from(u32::MAX)).unwrap_or(0);
        let heard = self.hear()?;
        match &mut self.speaker {
            Speaker::Own { writer, stream_id } => {
                let (csid, kind) = match tag.kind {
                    TagKind::Video => (CSID_VIDEO, type_id::VIDEO),
                    TagKind::Audio => (CSID_AUDIO, type_id::AUDIO),
                    TagKind::Data => return Ok(()),
                };
                writer.write(&mut self.out, csid, stamp, kind, *stream_id, &tag.body);
            }
            Speaker::RmlRtmp(session) => {
                let failed = |error: &dyn std::fmt::Display| Error::Publish(error.to_string());
                let mut results = session.handle_input(&heard).map_err(|error| failed(&error))?;
                let (body, stamp) = (tag.body.clone(), RtmpTimestamp::new(stamp));
                match tag.kind {
                    TagKind::Video => results.push(
                        session.publish_video_data(body, stamp, false).map_err(|error| failed(&error))?,
                    ),
                    TagKind::Audio => results.push(
                        session.publish_audio_data(body, stamp, false).map_err(|error| failed(&error))?,
                    ),
                    TagKind::Data => {}
                }
                for result in results {
                    if let ClientSessionResult::OutboundResponse(packet) = result {
                        self.out.extend_from_slice(&packet.bytes);
                    }
                }
            }
        }
        Ok(())
    }

    /// How many bytes are to be written.
    pub fn queued(&self) -> usize {
        self.out.len()
    }

    /// Writes what was queued.
    ///
    /// # Errors
    /// [`Error::Connection`].
    pub async fn flush(&mut self) -> Result<(), Error> {
        self.socket.write_all(&self.out).await?;
        self.out.clear();
        Ok(())
    }

    /// What the server has said meanwhile: acknowledgements and pings, taken as they come.
    fn hear(&mut self) -> Result<Bytes, Error> {
        let mut buffer = [0; 4_096];
        match self.socket.try_read(&mut buffer) {
            Ok(0) => Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into()),
            Ok(length) => Ok(Bytes::copy_from_slice(buffer.get(..length).unwrap_or_default())),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(Bytes::new()),
            Err(error) => Err(error.into()),
        }
    }
}

async fn read(socket: &mut TcpStream) -> Result<Vec<u8>, Error> {
    let mut buffer = vec![0; 4_096];
    match socket.read(&mut buffer).await? {
        0 => Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into()),
        length => {
            buffer.truncate(length);
            Ok(buffer)
        }
    }
}

/// The commands before the media.
struct Talk {
    socket: TcpStream,
    writer: ChunkWriter,
    reader: ChunkReader,
    input: BytesMut,
    out: BytesMut,
}

impl Talk {
    fn new(socket: TcpStream) -> Talk {
        let reader = ChunkReader::new(Limits::default());
        Talk { socket, writer: ChunkWriter::new(), reader, input: BytesMut::new(), out: BytesMut::new() }
    }

    async fn command(
        &mut self,
        name: &str,
        transaction_id: f64,
        stream_id: u32,
        object: Value,
        arguments: Vec<Value>,
    ) -> Result<(), Error> {
        let command = Command { name: name.to_owned(), transaction_id, object, arguments };
        self.writer.write(
            &mut self.out,
            CSID_COMMAND,
            0,
            type_id::COMMAND_AMF0,
            stream_id,
            &command.encode(),
        );
        self.socket.write_all(&self.out).await?;
        self.out.clear();
        Ok(())
    }

    async fn answer(&mut self, transaction_id: f64) -> Result<Command, Error> {
        loop {
            let command = self.next().await?;
            if command.transaction_id.total_cmp(&transaction_id).is_eq() {
                match command.name.as_str() {
                    "_result" => return Ok(command),
                    "_error" => return Err(Error::Publish(format!("{:?}", command.arguments))),
                    _ => {}
                }
            }
        }
    }

    async fn status(&mut self, wanted: &str) -> Result<(), Error> {
        loop {
            let command = self.next().await?;
            if command.name == "onStatus" {
                let information = command.arguments.first();
                let code = information.and_then(|value| value.property("code")).and_then(Value::as_str);
                return match code {
                    Some(code) if code == wanted => Ok(()),
                    _ => Err(Error::Publish(format!("{information:?}"))),
                };
            }
        }
    }

    async fn next(&mut self) -> Result<Command, Error> {
        loop {
            let message =
                self.reader.read(&mut self.input).map_err(|error| Error::Publish(error.to_string()))?;
            match message {
                Some(message) if message.type_id == type_id::COMMAND_AMF0 => {
                    let command = Command::decode(&message.payload);
                    if let Some(command) = command.map_err(|error| Error::Publish(error.to_string()))? {
                        return Ok(command);
                    }
                }
                Some(_) => {}
                None => {
                    if self.socket.read_buf(&mut self.input).await? == 0 {
                        return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
                    }
                }
            }
        }
    }
}
