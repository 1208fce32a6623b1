//! An RTMP publisher that says exactly what a test tells it to, right or wrong, and reports what it hears.
//!
//! Right bytes come from the chunk writer and AMF0 of `headwater-rtmp` (whose readers have tests and witnesses of their
//! own); wrong ones are sent as they are.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use headwater_flv::Tag;
use headwater_rtmp::amf0::Value;
use headwater_rtmp::message::type_id;
use headwater_rtmp::{ChunkReader, ChunkWriter, Command, Limits};

/// Any answer of the server comes sooner, on a machine that compiles beside the test too.
pub const ANSWER: Duration = Duration::from_secs(10);

/// A server that takes no byte for so long has hung up without saying so. Longer than its own write timeout of 10 s.
const WRITE_STALL: Duration = Duration::from_secs(20);

/// Between two looks at a deadline while nothing comes.
const READ_SLICE: Duration = Duration::from_millis(50);

/// Chunk streams as ffmpeg uses them.
const CSID_COMMAND: u32 = 3;
const CSID_AUDIO: u32 = 4;
const CSID_VIDEO: u32 = 6;
const CSID_PUBLISH: u32 = 8;

/// How far the conversation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// TCP only.
    Open,
    /// The handshake is done.
    Shaken,
    /// `connect` was answered.
    Connected,
    /// A message stream exists.
    Created,
    /// `publish` was accepted.
    Publishing,
}

/// An `onStatus`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// `status` or `error`.
    pub level: String,
    /// E.g. `NetStream.Publish.Start`.
    pub code: String,
    /// What the encoder's user reads.
    pub description: String,
}

/// One connection.
#[derive(Debug)]
pub struct RtmpClient {
    socket: TcpStream,
    writer: ChunkWriter,
    reader: ChunkReader,
    input: BytesMut,
    stage: Stage,
    transaction: f64,
    /// `app` of `connect`; what follows a `?` goes along.
    pub app: String,
    /// Name of `publish`.
    pub name: String,
    /// The message stream that `createStream` made last.
    pub stream_id: u32,
    /// Where the next media of [`RtmpClient::send_media`] begins, ms.
    pub clock_ms: u32,
    /// Bytes heard so far.
    pub received: u64,
    closed: bool,
}

impl RtmpClient {
    /// A TCP connection to the server's port on loopback, for the stream `live/{name}`.
    ///
    /// # Panics
    /// When the system refuses it.
    pub fn open(port: u16, name: &str) -> RtmpClient {
        let socket = TcpStream::connect(("127.0.0.1", port)).expect("the RTMP port accepts");
        socket.set_read_timeout(Some(READ_SLICE)).expect("a read timeout");
        socket.set_write_timeout(Some(WRITE_STALL)).expect("a write timeout");
        socket.set_nodelay(true).expect("TCP_NODELAY");
        RtmpClient {
            socket,
            writer: ChunkWriter::new(),
            reader: ChunkReader::new(Limits::default()),
            input: BytesMut::new(),
            stage: Stage::Open,
            transaction: 0.0,
            app: "live".to_owned(),
            name: name.to_owned(),
            stream_id: 0,
            clock_ms: 0,
            received: 0,
            closed: false,
        }
    }

    /// The port on this side, which is the peer's in the server's log.
    pub fn local_port(&self) -> u16 {
        self.socket.local_addr().map_or(0, |address| address.port())
    }

    /// Goes on, as an encoder does, until `stage`.
    ///
    /// # Errors
    /// What was waited for in vain.
    pub fn reach(&mut self, stage: Stage) -> Result<(), String> {
        while self.stage < stage {
            match self.stage {
                Stage::Open => {
                    let mut c0_c1 = vec![0; 1537];
                    if let Some(c0) = c0_c1.first_mut() {
                        *c0 = 3;
                    }
                    self.handshake(&c0_c1, &[0; 1536])?;
                }
                Stage::Shaken => self.connect_with(&[])?,
                Stage::Connected => self.create_stream()?,
                Stage::Created => self.publish()?,
                Stage::Publishing => {}
            }
        }
        Ok(())
    }

    /// The handshake with these bytes.
    ///
    /// # Errors
    /// When S0, S1 and S2 do not come.
    pub fn handshake(&mut self, c0_c1: &[u8], c2: &[u8]) -> Result<(), String> {
        self.send(c0_c1);
        let deadline = Instant::now() + ANSWER;
        while self.input.len() < 1 + 2 * 1536 {
            if !self.read_some(deadline) {
                return Err(format!("S0 to S2: {} bytes came", self.input.len()));
            }
        }
        let _ = self.input.split_to(1 + 2 * 1536);
        self.send(c2);
        self.stage = Stage::Shaken;
        Ok(())
    }

    /// `connect` with further properties, and its answer.
    ///
    /// # Errors
    /// When the answer is not a success.
    pub fn connect_with(&mut self, more: &[(&str, Value)]) -> Result<(), String> {
        let tc_url = format!("rtmp://127.0.0.1/{}", self.app);
        let usual = [
            ("app", Value::string(self.app.as_str())),
            ("type", Value::string("nonprivate")),
            ("flashVer", Value::string("test client")),
            ("tcUrl", Value::string(tc_url)),
        ];
        let properties = usual.iter().chain(more).map(|(name, value)| ((*name).to_owned(), value.clone()));
        let id = self.command("connect", 0, Value::Object(properties.collect()), vec![]);
        self.answer("_result", id)?;
        self.stage = Stage::Connected;
        Ok(())
    }

    /// `createStream`, and its answer.
    ///
    /// # Errors
    /// When the answer is not a message stream.
    pub fn create_stream(&mut self) -> Result<(), String> {
        let id = self.command("createStream", 0, Value::Null, vec![]);
        let answer = self.answer("_result", id)?;
        self.stream_id =
            answer.arguments.first().and_then(Value::as_u32).ok_or("createStream without a number")?;
        self.stage = Stage::Created;
        Ok(())
    }

    fn publish(&mut self) -> Result<(), String> {
        self.ask_to_publish(self.stream_id);
        let heard = self.status()?;
        if heard.code != "NetStream.Publish.Start" {
            return Err(format!("publish: {heard:?}"));
        }
        self.stage = Stage::Publishing;
        Ok(())
    }

    /// Sends `publish` of [`RtmpClient::name`] on this message stream.
    pub fn ask_to_publish(&mut self, stream_id: u32) {
        let name = Value::string(self.name.as_str());
        self.command_on(CSID_PUBLISH, "publish", stream_id, Value::Null, vec![name, Value::string("live")]);
    }

    /// Sends a command and returns its transaction id.
    pub fn command(&mut self, name: &str, stream_id: u32, object: Value, arguments: Vec<Value>) -> f64 {
        self.command_on(CSID_COMMAND, name, stream_id, object, arguments)
    }

    fn command_on(
        &mut self,
        csid: u32,
        name: &str,
        stream_id: u32,
        object: Value,
        arguments: Vec<Value>,
    ) -> f64 {
        self.transaction += 1.0;
        let command = Command { name: name.to_owned(), transaction_id: self.transaction, object, arguments };
        self.message(csid, 0, type_id::COMMAND_AMF0, stream_id, &command.encode());
        self.transaction
    }

    /// Sends one message in right chunks.
    pub fn message(&mut self, csid: u32, time_ms: u32, type_id: u8, stream_id: u32, payload: &[u8]) {
        let mut chunks = BytesMut::new();
        self.writer.write(&mut chunks, csid, time_ms, type_id, stream_id, payload);
        self.send(&chunks);
    }

    /// Announces a chunk size and obeys it.
    pub fn set_chunk_size(&mut self, size: u32) {
        let mut chunks = BytesMut::new();
        self.writer.set_chunk_size(size, &mut chunks);
        self.send(&chunks);
    }

    /// A video message of the publication at the clock's time.
    pub fn video(&mut self, body: &[u8]) {
        self.message(CSID_VIDEO, self.clock_ms, type_id::VIDEO, self.stream_id, body);
    }

    /// An audio message of the publication at the clock's time.
    pub fn audio(&mut self, body: &[u8]) {
        self.message(CSID_AUDIO, self.clock_ms, type_id::AUDIO, self.stream_id, body);
    }

    /// A data message (AMF0) of the publication.
    pub fn data(&mut self, body: &[u8]) {
        self.message(CSID_AUDIO, self.clock_ms, type_id::DATA_AMF0, self.stream_id, body);
    }

    /// Sends all tags, and moves the clock past them.
    pub fn send_media(&mut self, tags: &[Tag]) {
        let mut chunks = BytesMut::new();
        let mut last_ms = 0;
        for tag in tags {
            let (csid, type_id) = channel(tag);
            let time_ms = self.clock_ms.wrapping_add(tag.timestamp_ms);
            self.writer.write(&mut chunks, csid, time_ms, type_id, self.stream_id, &tag.body);
            last_ms = last_ms.max(tag.timestamp_ms);
        }
        self.clock_ms = self.clock_ms.wrapping_add(last_ms + 40);
        self.send(&chunks);
    }

    /// Sends bytes as they are. A connection that the server has closed takes none, which is no failure here.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.try_send(bytes);
    }

    /// As [`RtmpClient::send`]; false once the server has gone.
    pub fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.socket.write_all(bytes).is_ok()
    }

    /// The answer to the command of this transaction id.
    ///
    /// # Errors
    /// When none comes, or it is not called `name`.
    pub fn answer(&mut self, name: &str, transaction_id: f64) -> Result<Command, String> {
        let deadline = Instant::now() + ANSWER;
        while let Some(command) = self.next_command(deadline)? {
            let is_answer = matches!(command.name.as_str(), "_result" | "_error");
            if is_answer && command.transaction_id.total_cmp(&transaction_id).is_eq() {
                if command.name == name {
                    return Ok(command);
                }
                return Err(format!("{} {:?} instead of {name}", command.name, command.arguments));
            }
        }
        Err(format!("no {name}"))
    }

    /// The next `onStatus`.
    ///
    /// # Errors
    /// When none comes.
    pub fn status(&mut self) -> Result<Heard, String> {
        let deadline = Instant::now() + ANSWER;
        while let Some(command) = self.next_command(deadline)? {
            if command.name == "onStatus" {
                let info = command.arguments.first().ok_or("onStatus without information")?;
                let text = |name| info.property(name).and_then(Value::as_str).unwrap_or("").to_owned();
                return Ok(Heard {
                    level: text("level"),
                    code: text("code"),
                    description: text("description"),
                });
            }
        }
        Err(format!("no onStatus (connection closed: {})", self.closed))
    }

    /// The next command; `None` when the connection is closed or the deadline over.
    fn next_command(&mut self, deadline: Instant) -> Result<Option<Command>, String> {
        loop {
            while let Some(message) = self.reader.read(&mut self.input).map_err(|error| error.to_string())? {
                if message.type_id == type_id::COMMAND_AMF0 {
                    match Command::decode(&message.payload) {
                        Ok(Some(command)) => return Ok(Some(command)),
                        other => return Err(format!("the server sent a command that is none: {other:?}")),
                    }
                }
            }
            if !self.read_some(deadline) {
                return Ok(None);
            }
        }
    }

    /// Reads until something came; false when the connection is closed or the deadline over.
    fn read_some(&mut self, deadline: Instant) -> bool {
        let mut buffer = [0; 16 << 10];
        while !self.closed && Instant::now() < deadline {
            match self.socket.read(&mut buffer) {
                Ok(0) => self.closed = true,
                Ok(bytes) => {
                    self.received += bytes as u64;
                    self.input.extend_from_slice(buffer.get(..bytes).unwrap_or_default());
                    return true;
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // A reset is a close by a server that still had bytes to read.
                Err(_) => self.closed = true,
            }
        }
        false
    }

    /// Whether the server closes the connection within `bound`; what it still says is thrown away.
    pub fn closes_within(&mut self, bound: Duration) -> bool {
        let deadline = Instant::now() + bound;
        while self.read_some(deadline) {
            self.input.clear();
        }
        self.closed
    }

    /// `deleteStream`, then the end of the connection; returns when the server has closed its side too.
    pub fn leave(mut self) {
        self.delete_stream();
        self.hang_up();
    }

    /// `deleteStream`; the connection stays.
    pub fn delete_stream(&mut self) {
        let stream_id = Value::Number(f64::from(self.stream_id));
        self.command("deleteStream", 0, Value::Null, vec![stream_id]);
    }

    /// Closes this side without a word.
    pub fn stop_sending(&self) {
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    /// Closes this side without a word and waits for the other.
    pub fn hang_up(mut self) {
        let _ = self.socket.shutdown(Shutdown::Write);
        self.closes_within(ANSWER);
    }
}

/// Chunk stream and message type of a tag.
fn channel(tag: &Tag) -> (u32, u8) {
    match tag.kind {
        headwater_flv::TagKind::Audio => (CSID_AUDIO, type_id::AUDIO),
        headwater_flv::TagKind::Video => (CSID_VIDEO, type_id::VIDEO),
        headwater_flv::TagKind::Data => (CSID_AUDIO, type_id::DATA_AMF0),
    }
}
