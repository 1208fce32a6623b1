//! The server's side of one connection: bytes and time in, bytes and events out.

mod answers;
mod commands;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::aggregate::{self, Aggregate};
use crate::amf0::{self, Value};
use crate::chunk::{ChunkReader, Unfinished};
use crate::command::{Capabilities, ConnectTexts};
use crate::event::{MediaMessage, ServerEvent, UnpublishCause};
use crate::handshake::{Handshake, RANDOM_BYTES};
use crate::message::{Class, Message, MessageKind, event_type, split_event, split_u32, type_id};
use crate::status::{self, PlayError, PublishError, Status};
use crate::writer::ChunkWriter;
use crate::{Counters, Error, Limits, Phase};

/// Window Acknowledgement Size and Set Peer Bandwidth: four seconds at 5 Mbit/s between acknowledgements, the value
/// of Adobe's servers, which every encoder has met.
const WINDOW_BYTES: u32 = 2_500_000;
/// Limit type of Set Peer Bandwidth: dynamic (RTMP 1.0 5.4.5).
const LIMIT_DYNAMIC: u8 = 2;
/// Chunk stream of `_result` and other answers on the connection itself.
const CSID_COMMAND: u32 = 3;
/// Chunk stream of `onStatus`.
const CSID_STATUS: u32 = 5;
/// Longest text of the peer that is repeated in an answer.
const ECHO_BYTES_MAX: usize = 256;
/// An emptied event queue that once was longer than this gives its memory back.
const EVENTS_KEPT: usize = 256;

/// What a message stream is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Idle,
    /// By the publication of this serial number.
    Publish(u64),
    /// Accepted or not yet decided.
    Play(PlayState),
}

/// What a `play` waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PlayState {
    /// A decision; `reset` asks for a word about it.
    Asked { reset: bool },
    /// Its end.
    Playing,
}

#[derive(Debug)]
struct Stream {
    id: u32,
    used_for: Use,
}

/// A publication outlives its message stream until its last event is taken: what the peer sent before it ended is
/// delivered even if all of it came in one read. A refused one is forgotten at once.
struct Publication {
    serial: u64,
    stream_id: u32,
    /// As the peer wrote it, without the query, for FCUnpublish.
    name: String,
    /// Its Publish event was taken.
    announced: bool,
    accepted: bool,
}

/// An event and, for what belongs to a publication, its serial number.
struct Queued {
    publication: Option<u64>,
    event: ServerEvent,
}

/// One connection, from C0 to its end. After an error nothing more is read; what
/// [`ServerConnection::take_output`] still holds may be sent before closing.
///
/// Times are [`Duration`]s since any fixed moment of a monotonic clock.
pub struct ServerConnection {
    limits: Limits,
    handshake: Option<Handshake>,
    reader: ChunkReader,
    writer: ChunkWriter,
    output: BytesMut,
    events: VecDeque<Queued>,
    capabilities: Capabilities,
    connect: Option<ConnectTexts>,
    streams: Vec<Stream>,
    stream_id_last: u32,
    publications: Vec<Publication>,
    serial_last: u64,
    /// The peer's window: how many bytes it wants acknowledged at a time; 0 for never.
    window: u32,
    bytes_acknowledged: u64,
    now: Duration,
    deadline: Option<(Duration, Phase)>,
    received_at: Duration,
    ping_sent: bool,
    /// Bytes that the last call left in the input.
    input_left: usize,
    command_second: Duration,
    commands: u32,
    /// A publication or a `play` was accepted once.
    has_begun: bool,
    closed: bool,
}

impl ServerConnection {
    /// A connection that has received nothing. `random` fills S1: the caller supplies randomness.
    pub fn new(limits: Limits, random: [u8; RANDOM_BYTES], now: Duration) -> ServerConnection {
        let mut reader = ChunkReader::new(limits.clone());
        reader.set_partial_bytes_max(limits.partial_bytes_before_publish_max);
        ServerConnection {
            handshake: Some(Handshake::new(random)),
            reader,
            writer: ChunkWriter::new(),
            output: BytesMut::new(),
            events: VecDeque::new(),
            capabilities: Capabilities::default(),
            connect: None,
            streams: Vec::new(),
            stream_id_last: 0,
            publications: Vec::new(),
            serial_last: 0,
            window: WINDOW_BYTES,
            bytes_acknowledged: 0,
            now,
            deadline: Some((now.saturating_add(limits.handshake_timeout), Phase::Handshake)),
            received_at: now,
            ping_sent: false,
            input_left: 0,
            command_second: now,
            commands: 0,
            has_begun: false,
            closed: false,
            limits,
        }
    }

    /// What to tell peers that speak Enhanced RTMP; nothing by default. To be called before the first input.
    pub fn set_capabilities(&mut self, capabilities: Capabilities) {
        self.capabilities = capabilities;
    }

    /// Consumes all that is complete, and payloads as they come, from the front of `input`; what is left (1,536 bytes
    /// at most during the handshake, [`crate::chunk::HEADER_BYTES_MAX`] after it) belongs in front of the next bytes.
    ///
    /// Each call can add an event for every two bytes of input: call [`ServerConnection::poll_event`] until `None` and
    /// [`ServerConnection::take_output`] after each.
    ///
    /// # Errors
    /// [`Error`]: close. Events from before it are still there to be taken. [`Error::Closed`] from then on.
    pub fn handle_input(&mut self, input: &mut BytesMut, now: Duration) -> Result<(), Error> {
        if self.closed {
            return Err(Error::Closed);
        }
        self.now = self.now.max(now);
        let result = self.consume(input);
        self.input_left = input.len();
        self.closed = result.is_err();
        result
    }

    /// The next event, in the order of the bytes.
    ///
    /// Media that came behind a `publish` in the same read is delivered if that was accepted meanwhile, and dropped and
    /// counted if not: decide before taking the next event.
    pub fn poll_event(&mut self) -> Option<ServerEvent> {
        loop {
            let Some(Queued { publication, event }) = self.events.pop_front() else {
                if self.events.capacity() > EVENTS_KEPT {
                    self.events = VecDeque::new();
                }
                return None;
            };
            let Some(serial) = publication else { return Some(event) };
            let index = self.publications.iter().position(|publication| publication.serial == serial);
            let publication = index.and_then(|index| self.publications.get_mut(index));
            match (&event, publication) {
                (ServerEvent::Media(_), publication) => {
                    if !publication.is_some_and(|publication| publication.accepted) {
                        self.reader.counters_mut().stray_media += 1;
                        continue;
                    }
                }
                (_, None) => continue,
                (ServerEvent::Unpublish { .. }, Some(_)) => {
                    self.publications.retain(|publication| publication.serial != serial);
                }
                (_, Some(publication)) => publication.announced = true,
            }
            return Some(event);
        }
    }

    /// Whether the handshake is done.
    pub fn is_established(&self) -> bool {
        self.handshake.is_none()
    }

    /// All bytes to send so far, in order; empty when there are none.
    pub fn take_output(&mut self) -> Bytes {
        self.output.split().freeze()
    }

    /// When [`ServerConnection::handle_timeout`] has something to do, if nothing happens before.
    pub fn next_timeout(&self) -> Option<Duration> {
        if self.closed {
            return None;
        }
        let silence = if self.ping_sent { self.limits.silence_timeout } else { self.limits.ping_after };
        let traffic = self.handshake.is_none().then(|| self.received_at.saturating_add(silence));
        let phase = self.deadline.map(|(at, _)| at);
        traffic.into_iter().chain(phase).min()
    }

    /// Does what is due at `now`: asks a silent peer for a sign of life, or ends the connection.
    ///
    /// # Errors
    /// [`Error::Timeout`]: close.
    pub fn handle_timeout(&mut self, now: Duration) -> Result<(), Error> {
        if self.closed {
            return Err(Error::Closed);
        }
        self.now = self.now.max(now);
        let expired = self.deadline.filter(|(at, _)| *at <= self.now).map(|(_, phase)| phase);
        let silence = self.now.saturating_sub(self.received_at);
        let silent = self.handshake.is_none() && silence >= self.limits.silence_timeout;
        if let Some(phase) = expired.or(silent.then_some(Phase::Traffic)) {
            self.closed = true;
            return Err(Error::Timeout(phase));
        }
        if self.handshake.is_none() && !self.ping_sent && silence >= self.limits.ping_after {
            self.ping_sent = true;
            self.write_user_control(event_type::PING_REQUEST, millis(self.now));
        }
        Ok(())
    }

    /// Accepts the `publish` that was last reported for this message stream: StreamBegin and NetStream.Publish.Start.
    /// Does nothing when there is none or it is decided.
    pub fn accept_publish(&mut self, stream_id: u32) {
        let Some(publication) = self.undecided(stream_id) else { return };
        publication.accepted = true;
        let serial = publication.serial;
        self.has_begun = true;
        self.reader.set_partial_bytes_max(self.limits.partial_bytes_max);
        // The peer may have ended it before it was decided; its media still counts, an answer doesn't.
        if self.streams.iter().any(|stream| stream.used_for == Use::Publish(serial)) {
            self.write_user_control(event_type::STREAM_BEGIN, stream_id);
            let status = Status::info(status::PUBLISH_START, "publishing");
            self.write_status(stream_id, &status, &[("clientid", Value::Number(1.0))]);
        }
    }

    /// Refuses it. The caller closes the connection once the output is sent.
    pub fn reject_publish(&mut self, stream_id: u32, error: PublishError, description: &str) {
        let Some(serial) = self.undecided(stream_id).map(|publication| publication.serial) else { return };
        self.publications.retain(|publication| publication.serial != serial);
        if self.streams.iter().any(|stream| stream.used_for == Use::Publish(serial)) {
            self.release(stream_id);
            self.send_status(stream_id, &Status::error(error.code(), description));
        }
    }

    /// Accepts the `play` that was last reported for this message stream: StreamBegin, NetStream.Play.Start and what players want
    /// to hear before media. Media follows from [`crate::playback`], behind this connection's output. Returns false when the peer
    /// has closed the stream meanwhile.
    pub fn accept_play(&mut self, stream_id: u32) -> bool {
        let Some(PlayState::Asked { reset }) = self.play_state(stream_id) else { return false };
        self.set_use(stream_id, Use::Play(PlayState::Playing));
        // Who plays for a week acknowledges more than a stranger may send.
        self.has_begun = true;
        self.write_user_control(event_type::STREAM_BEGIN, stream_id);
        if reset {
            self.send_status(stream_id, &Status::info(status::PLAY_RESET, "playing and resetting"));
        }
        self.send_status(stream_id, &Status::info(status::PLAY_START, "playing"));
        // Flash's players read no picture without it (rtmp.md 8.1).
        let mut body = Vec::with_capacity(32);
        for value in [Value::string("|RtmpSampleAccess"), Value::Boolean(false), Value::Boolean(false)] {
            amf0::encode(&value, &mut body);
        }
        self.writer.write(&mut self.output, CSID_STATUS, 0, type_id::DATA_AMF0, stream_id, &body);
        true
    }

    /// Ends what was played: StreamEOF and NetStream.Play.UnpublishNotify, at which players stop without an error.
    pub fn end_play(&mut self, stream_id: u32, description: &str) {
        if self.play_state(stream_id) == Some(PlayState::Playing) {
            self.release(stream_id);
            self.write_user_control(event_type::STREAM_EOF, stream_id);
            self.send_status(stream_id, &Status::info(status::PLAY_UNPUBLISH_NOTIFY, description));
        }
    }

    /// Refuses a `play`. The caller closes the connection once the output is sent.
    pub fn reject_play(&mut self, stream_id: u32, error: PlayError, description: &str) {
        if matches!(self.play_state(stream_id), Some(PlayState::Asked { .. })) {
            self.release(stream_id);
            self.send_status(stream_id, &Status::error(error.code(), description));
        }
    }

    /// Sends an `onStatus` on a message stream: why a publication cannot go on, or that the server ended it.
    pub fn send_status(&mut self, stream_id: u32, status: &Status) {
        self.write_status(stream_id, status, &[]);
    }

    /// What was received and tolerated so far.
    pub fn counters(&self) -> &Counters {
        self.reader.counters()
    }

    /// The longest message that has begun and is not complete.
    pub fn unfinished(&self) -> Option<Unfinished> {
        self.reader.unfinished()
    }

    /// Bytes allocated for messages that are not complete.
    pub fn partial_bytes(&self) -> usize {
        self.reader.partial_bytes()
    }

    /// Panics when the books don't balance; for tests and fuzzing.
    #[doc(hidden)]
    pub fn check_invariants(&self) {
        self.reader.check_invariants();
        assert!(self.streams.len() <= self.limits.streams_max);
        for stream in &self.streams {
            if let Use::Publish(serial) = stream.used_for {
                let publication = self.publications.iter().find(|p| p.serial == serial);
                assert!(publication.is_some_and(|p| p.stream_id == stream.id));
            }
        }
        let in_use = self.streams.iter().any(|stream| stream.used_for != Use::Idle);
        assert!(self.closed || self.deadline.is_some() != in_use);
    }

    fn consume(&mut self, input: &mut BytesMut) -> Result<(), Error> {
        if input.len() > self.input_left {
            self.received_at = self.now;
            self.ping_sent = false;
        }
        if let Some(handshake) = &mut self.handshake {
            let before = input.len();
            let time_ms = millis(self.now);
            let done = handshake.read(input, &mut self.output, time_ms)?;
            self.reader.counters_mut().bytes_received += (before - input.len()) as u64;
            if !done {
                return Ok(());
            }
            self.handshake = None;
            self.set_deadline(self.limits.connect_timeout, Phase::Connect);
        }
        while let Some(message) = self.reader.read(input)? {
            self.message(message)?;
            self.check_output()?;
        }
        let max = self.limits.bytes_before_publish_max;
        if !self.has_begun && self.reader.counters().bytes_received > max {
            return Err(Error::BytesBeforePublish { max });
        }
        self.acknowledge();
        self.check_output()
    }

    fn check_output(&self) -> Result<(), Error> {
        if self.output.len() > self.limits.output_bytes_max {
            return Err(Error::OutputFull { max: self.limits.output_bytes_max });
        }
        Ok(())
    }

    /// RTMP 1.0 5.4.3: the running total modulo 2^32, once per window.
    fn acknowledge(&mut self) {
        let total = self.reader.counters().bytes_received;
        if self.window == 0 || total.saturating_sub(self.bytes_acknowledged) < u64::from(self.window) {
            return;
        }
        self.bytes_acknowledged = total;
        let [.., a, b, c, d] = total.to_be_bytes();
        self.write_control(type_id::ACKNOWLEDGEMENT, &[a, b, c, d]);
    }

    fn set_deadline(&mut self, after: Duration, phase: Phase) {
        self.deadline = Some((self.now.saturating_add(after), phase));
    }

    fn message(&mut self, message: Message) -> Result<(), Error> {
        match Class::of(message.type_id) {
            Class::Control => self.control(&message),
            Class::Command => return self.command_message(&message),
            Class::Media if message.type_id == type_id::AGGREGATE => return self.aggregate(message),
            Class::Media | Class::Data => self.media(message),
            Class::Unknown => {}
        }
        Ok(())
    }

    fn control(&mut self, message: &Message) {
        let payload = &message.payload;
        let understood = match message.type_id {
            type_id::USER_CONTROL => self.user_control(payload),
            type_id::WINDOW_ACKNOWLEDGEMENT_SIZE => {
                split_u32(payload).map(|(window, _)| self.window = window).is_some()
            }
            // Acknowledgements and Set Peer Bandwidth: sending never waits for either.
            _ => payload.len() >= 4,
        };
        if !understood {
            self.reader.counters_mut().ignored_controls += 1;
        }
    }

    fn user_control(&mut self, payload: &[u8]) -> bool {
        let Some((event, data)) = split_event(payload) else { return false };
        match event {
            event_type::PING_REQUEST => match split_u32(data) {
                Some((time, _)) => self.write_user_control(event_type::PING_RESPONSE, time),
                None => return false,
            },
            // Buffer lengths and what only servers say mean nothing here; an answer to a ping has done its work.
            event_type::STREAM_BEGIN..=event_type::SET_BUFFER_LENGTH | event_type::PING_RESPONSE => {}
            _ => return false,
        }
        true
    }

    fn aggregate(&mut self, message: Message) -> Result<(), Error> {
        let mut messages = Aggregate::new(message);
        let mut count = 0_usize;
        for inner in &mut messages {
            count += 1;
            if count > self.limits.aggregate_messages_max {
                return Err(Error::AggregateMessages { max: self.limits.aggregate_messages_max });
            }
            if inner.type_id == type_id::AGGREGATE {
                return Err(Error::NestedAggregate);
            }
            if aggregate::may_contain(inner.type_id) {
                self.media(inner);
            } else {
                self.reader.counters_mut().bad_aggregates += 1;
            }
        }
        if messages.is_truncated() {
            self.reader.counters_mut().bad_aggregates += 1;
        }
        Ok(())
    }

    fn media(&mut self, message: Message) {
        let Message { timestamp, type_id, stream_id, payload, .. } = message;
        let (kind, payload) = match type_id {
            type_id::AUDIO => (MessageKind::Audio, payload),
            type_id::VIDEO => (MessageKind::Video, payload),
            // Metadata may be kept as long as the stream lives; a slice would keep the whole read buffer with it.
            _ => (MessageKind::Data, Bytes::copy_from_slice(without_selector(type_id, &payload))),
        };
        let used_for = match self.streams.iter().find(|stream| stream.id == stream_id) {
            Some(stream) => stream.used_for,
            // Some encoders put media on message stream 0 or 1 whatever createStream said.
            None => {
                let mut publishing = self.streams.iter().filter(|s| matches!(s.used_for, Use::Publish(_)));
                let only = publishing.next().filter(|_| publishing.next().is_none());
                only.map_or(Use::Idle, |stream| stream.used_for)
            }
        };
        let Use::Publish(serial) = used_for else {
            self.reader.counters_mut().stray_media += 1;
            return;
        };
        if payload.is_empty() {
            self.reader.counters_mut().empty_messages += 1;
            return;
        }
        let stream_id =
            self.publications.iter().find(|p| p.serial == serial).map_or(stream_id, |p| p.stream_id);
        let event = ServerEvent::Media(MediaMessage { kind, stream_id, timestamp, payload });
        self.events.push_back(Queued { publication: Some(serial), event });
    }

    /// The peer ended the publication on this message stream; returns whether there was one.
    fn end_publication(&mut self, stream_id: u32, cause: UnpublishCause) -> bool {
        let stream = self.streams.iter().find(|stream| stream.id == stream_id);
        let Some(Use::Publish(serial)) = stream.map(|stream| stream.used_for) else { return false };
        self.release(stream_id);
        let event = ServerEvent::Unpublish { stream_id, cause };
        self.events.push_back(Queued { publication: Some(serial), event });
        true
    }

    /// The publication on this message stream that was reported and waits for a decision.
    fn undecided(&mut self, stream_id: u32) -> Option<&mut Publication> {
        let mut latest_first = self.publications.iter_mut().rev();
        latest_first.find(|p| p.stream_id == stream_id && p.announced && !p.accepted)
    }

    fn release(&mut self, stream_id: u32) {
        self.set_use(stream_id, Use::Idle);
    }

    fn set_use(&mut self, stream_id: u32, used_for: Use) {
        if let Some(stream) = self.streams.iter_mut().find(|stream| stream.id == stream_id) {
            stream.used_for = used_for;
        }
        self.refresh_deadline();
    }

    /// A connection that neither publishes nor plays has [`Limits::publish_timeout`] to begin.
    fn refresh_deadline(&mut self) {
        if self.streams.iter().any(|stream| stream.used_for != Use::Idle) {
            self.deadline = None;
        } else if self.deadline.is_none() {
            self.set_deadline(self.limits.publish_timeout, Phase::Publish);
        }
    }
}

/// Milliseconds modulo 2^32, as RTMP counts.
fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis() & u128::from(u32::MAX)).unwrap_or(0)
}

/// Bodies of types 15 and 17 begin with a format selector, 0. Where it is left out the first byte is the marker of
/// the name, a string; a number cannot stand there.
fn without_selector(type_id: u8, payload: &[u8]) -> &[u8] {
    match payload {
        [0, rest @ ..] if matches!(type_id, type_id::DATA_AMF3 | type_id::COMMAND_AMF3) => rest,
        _ => payload,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledged_total_wraps_at_32_bits() {
        let mut connection = ServerConnection::new(Limits::default(), [0; RANDOM_BYTES], Duration::ZERO);
        connection.bytes_acknowledged = u64::from(u32::MAX) - 10;
        for (total, expected) in [
            (u64::from(u32::MAX) + 2_499_989, None),
            (u64::from(u32::MAX) + 2_499_990, Some(2_499_989_u32)),
            (u64::from(u32::MAX) + 2_499_991, None),
        ] {
            connection.reader.counters_mut().bytes_received = total;
            connection.acknowledge();
            let output = connection.take_output();
            assert_eq!(output.last_chunk(), expected.map(u32::to_be_bytes).as_ref(), "{total}");
        }
    }

    #[test]
    fn times_are_milliseconds_modulo_32_bits() {
        let wrap = Duration::from_millis(u64::from(u32::MAX));
        assert_eq!(millis(wrap), u32::MAX);
        assert_eq!(millis(wrap + Duration::from_millis(6)), 5);
    }
}
