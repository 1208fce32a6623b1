//! A scripted peer: writes what an encoder would, reads what the server answered.

use std::time::Duration;

use bytes::BytesMut;
use headwater_rtmp::amf0::Value;
use headwater_rtmp::message::type_id;
use headwater_rtmp::{
    ChunkReader, ChunkWriter, Command, Error, Limits, Message, ServerConnection, ServerEvent,
};

/// C0, a simple C1 and a C2 that nobody looks at.
pub(crate) fn handshake_bytes() -> Vec<u8> {
    let mut bytes = vec![3];
    bytes.extend_from_slice(&[0; 8]);
    bytes.extend((0..1528).map(|index| index as u8));
    bytes.extend_from_slice(&[0xee; 1536]);
    bytes
}

/// The body of a command.
pub(crate) fn command(name: &str, transaction_id: f64, object: Value, arguments: Vec<Value>) -> Vec<u8> {
    Command { name: name.to_owned(), transaction_id, object, arguments }.encode()
}

pub(crate) fn text(text: &str) -> Value {
    Value::string(text)
}

/// A server connection and the other end of its wire.
pub(crate) struct Client {
    pub(crate) server: ServerConnection,
    pub(crate) writer: ChunkWriter,
    pub(crate) out: BytesMut,
    /// What the server left unread.
    pub(crate) input: BytesMut,
    reader: ChunkReader,
    replies: BytesMut,
    pub(crate) now: Duration,
    /// Publish requests are accepted as they come.
    pub(crate) accept: bool,
}

impl Client {
    /// Before the handshake.
    pub(crate) fn raw(limits: Limits) -> Client {
        Client {
            server: ServerConnection::new(limits, [0x11; 1528], Duration::ZERO),
            writer: ChunkWriter::new(),
            out: BytesMut::new(),
            input: BytesMut::new(),
            reader: ChunkReader::new(Limits::default()),
            replies: BytesMut::new(),
            now: Duration::ZERO,
            accept: true,
        }
    }

    /// After the handshake.
    pub(crate) fn new(limits: Limits) -> Client {
        let mut client = Client::raw(limits);
        client.out.extend_from_slice(&handshake_bytes());
        assert_eq!(client.send(), Ok(vec![]));
        assert_eq!(client.replies.len(), 3073);
        client.replies.clear();
        client
    }

    /// After `connect` to rtmp://h/live and `createStream`, which made stream 1.
    pub(crate) fn connected(limits: Limits) -> Client {
        let mut client = Client::new(limits);
        client.connect("live", "rtmp://h/live");
        client.command(0, "createStream", 4.0, vec![]);
        client.send().expect("connect and createStream");
        client.replies();
        client
    }

    /// After `publish` of rtmp://h/live/cam was accepted on stream 1.
    pub(crate) fn publishing(limits: Limits) -> Client {
        let mut client = Client::connected(limits);
        client.command(1, "publish", 5.0, vec![text("cam"), text("live")]);
        client.send().expect("publish");
        client.replies();
        client
    }

    pub(crate) fn connect(&mut self, app: &str, tc_url: &str) {
        let object = Value::object([("app", text(app)), ("tcUrl", text(tc_url))]);
        self.message(3, 0, type_id::COMMAND_AMF0, 0, &command("connect", 1.0, object, vec![]));
    }

    /// Writes a command with a null command object.
    pub(crate) fn command(&mut self, stream_id: u32, name: &str, transaction_id: f64, arguments: Vec<Value>) {
        let body = command(name, transaction_id, Value::Null, arguments);
        self.message(3, 0, type_id::COMMAND_AMF0, stream_id, &body);
    }

    pub(crate) fn message(&mut self, csid: u32, timestamp: u32, type_id: u8, stream_id: u32, body: &[u8]) {
        self.writer.write(&mut self.out, csid, timestamp, type_id, stream_id, body);
    }

    /// Hands what was written to the server and returns its events.
    pub(crate) fn send(&mut self) -> Result<Vec<ServerEvent>, Error> {
        self.input.extend_from_slice(&self.out.split());
        let result = self.server.handle_input(&mut self.input, self.now);
        self.server.check_invariants();
        let mut events = Vec::new();
        while let Some(event) = self.server.poll_event() {
            if let ServerEvent::Publish(request) = &event
                && self.accept
            {
                self.server.accept_publish(request.stream_id);
            }
            events.push(event);
        }
        self.server.check_invariants();
        self.replies.extend_from_slice(&self.server.take_output());
        result.map(|()| events)
    }

    /// The server's messages since the last call, each in one line.
    pub(crate) fn replies(&mut self) -> Vec<String> {
        self.replies.extend_from_slice(&self.server.take_output());
        let mut lines = Vec::new();
        while let Some(message) = self.reader.read(&mut self.replies).expect("the server's bytes are right") {
            lines.push(line(&message));
        }
        assert!(self.replies.is_empty());
        lines
    }
}

/// E.g. `20 on 1: onStatus 0 null {level: "status", code: ..}`.
fn line(message: &Message) -> String {
    let Message { type_id, stream_id, payload, .. } = message;
    if *type_id == type_id::COMMAND_AMF0 {
        let values = headwater_rtmp::amf0::decode(payload).expect("commands are AMF0");
        let values: Vec<String> = values.iter().map(show).collect();
        return format!("20 on {stream_id}: {}", values.join(" "));
    }
    let hex: String = payload.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{type_id} on {stream_id}: {hex}")
}

fn show(value: &Value) -> String {
    match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Null => "null".to_owned(),
        Value::Undefined => "undefined".to_owned(),
        Value::Object(properties) => {
            let properties: Vec<String> =
                properties.iter().map(|(name, value)| format!("{name}={}", show(value))).collect();
            format!("{{{}}}", properties.join(", "))
        }
        other => format!("{other:?}"),
    }
}
