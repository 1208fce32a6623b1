//! The chunk stream, reading side: chunks in, whole messages out (RTMP 1.0 5.3).
//!
//! Two points where encoders differ from the text, and what is done:
//!
//! - *Extended timestamp in continuation chunks.* 5.3.1.3 repeats it in every type 3 chunk; ffmpeg and librtmp do,
//!   some old encoders don't. It is taken as present when the next four bytes equal the stored one; the decision
//!   falls on the first byte that differs, so it does not depend on how the bytes were split on their way.
//! - *A type 3 chunk that begins a message after a type 0* repeats that type's timestamp as a time step
//!   (5.3.1.2.4). ffmpeg and librtmp write by that rule, others mean "no step". A step above 10 s that no
//!   other chunk stream with media has made is taken as 0, and counted.

use bytes::{Buf, Bytes, BytesMut};

use crate::message::{Class, Message, split_u32, type_id};
use crate::{Counters, Error, Limits, limits};

/// Both directions start with it (RTMP 1.0 5.4.1).
pub const CHUNK_SIZE_INITIAL: u32 = 128;
/// The 24-bit time that announces an extended timestamp.
pub(crate) const EXTENDED: u32 = 0x00FF_FFFF;
/// The largest step a type 3 chunk may make by repeating a type 0's timestamp without a witness, ms.
const REPEATED_STEP_MAX_MS: u32 = 10_000;
/// Chunk stream of control messages (RTMP 1.0 5.4).
pub(crate) const CSID_CONTROL: u32 = 2;
/// First allocation for a message in pieces that is too long for a slab. Beyond it a buffer is at most twice as large as what has arrived:
/// 64 chunk streams with huge lengths announced and a byte sent on each hold 1 MiB. Most frames of a 5 Mbit/s
/// stream need at most one more allocation.
const FIRST_ALLOCATION_BYTES: usize = 16 << 10;
/// Messages up to this lie one behind the other in slabs: most frames of a 5 Mbit/s stream. An allocation of kilobytes costs more than all
/// else that is done with a frame here.
const SLAB_MESSAGE_BYTES_MAX: usize = 32 << 10;
/// A slab; the first of a connection, which may be about to say goodbye, and the later ones.
const SLAB_BYTES_MIN: usize = 4 << 10;
const SLAB_BYTES_MAX: usize = 128 << 10;
/// A whole message in one chunk is copied up to this, and is a slice of the input beyond. A slice holds all of the input's buffer, so
/// that another is needed: what is copied is less than that costs.
const COPIED_BYTES_MAX: usize = 4 << 10;
/// Longest basic header + message header + extended timestamp: what can stay in the input.
pub const HEADER_BYTES_MAX: usize = 3 + 11 + 4;

/// What is remembered of one chunk stream.
#[derive(Debug)]
struct ChunkStream {
    csid: u32,
    /// Of the message in progress, or the last one.
    timestamp: u32,
    /// The time field of the last type 0, 1 or 2: what a type 3 repeats as its step.
    step: u32,
    /// Whether `step` is the absolute time of a type 0.
    step_is_absolute: bool,
    /// The last type 0, 1 or 2 had an extended timestamp, this one.
    extended: Option<u32>,
    length: usize,
    type_id: u8,
    stream_id: u32,
    /// A message has begun and is not complete.
    receiving: bool,
    received: usize,
    /// Its bytes so far; stays empty for messages that are skipped.
    body: BytesMut,
}

impl ChunkStream {
    fn new(csid: u32) -> ChunkStream {
        ChunkStream {
            csid,
            timestamp: 0,
            step: 0,
            step_is_absolute: false,
            extended: None,
            length: 0,
            type_id: 0,
            stream_id: 0,
            receiving: false,
            received: 0,
            body: BytesMut::new(),
        }
    }

    fn message(&self, payload: Bytes) -> Message {
        Message {
            csid: self.csid,
            timestamp: self.timestamp,
            type_id: self.type_id,
            stream_id: self.stream_id,
            payload,
        }
    }
}

/// A header, parsed but not yet applied.
#[derive(Debug, Clone, Copy)]
struct Header {
    fmt: u8,
    csid: u32,
    /// Of the whole header.
    bytes: usize,
    /// Time field after the extension, for types 0 to 2; the extended timestamp, for type 3.
    time: Option<u32>,
    extended: bool,
    length_and_type: Option<(u32, u8)>,
    stream_id: Option<u32>,
}

/// Memory for messages, each taken from where the one before ends.
#[derive(Debug, Default)]
struct Slab {
    rest: BytesMut,
    /// Of the newest one.
    size: usize,
}

impl Slab {
    /// Room for `length` bytes, at most [`SLAB_MESSAGE_BYTES_MAX`].
    fn take(&mut self, length: usize) -> BytesMut {
        if self.rest.capacity() < length {
            self.size = self.size.saturating_mul(2).clamp(SLAB_BYTES_MIN, SLAB_BYTES_MAX);
            self.rest = BytesMut::with_capacity(self.size.max(length));
        }
        let rest = self.rest.split_off(length);
        std::mem::replace(&mut self.rest, rest)
    }
}

/// A message of which more has to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unfinished {
    /// Bytes of its payload.
    pub length: usize,
    /// Bytes of the chunk stream before which it can't be complete.
    pub missing: usize,
}

/// The chunk whose payload is being read.
#[derive(Debug, Clone, Copy)]
struct OpenChunk {
    index: usize,
    remaining: usize,
}

/// How far [`ChunkReader::step`] came.
enum Step {
    /// Everything usable is consumed.
    More,
    /// The next `usize` bytes are a whole message of chunk stream `index`.
    Slice { index: usize, length: usize },
    /// A gathered message is complete.
    Gathered(Message),
}

/// Reads chunks. Set Chunk Size and Abort, which are about the chunk stream itself, are obeyed here and not
/// returned.
#[derive(Debug)]
pub struct ChunkReader {
    chunk_size: usize,
    streams: Vec<ChunkStream>,
    /// Index of the stream used last: most chunks continue it.
    recent: usize,
    open: Option<OpenChunk>,
    slab: Slab,
    /// Sum of the capacities of all `body`.
    partial_bytes: usize,
    partial_bytes_max: usize,
    chunk_size_changes: u32,
    discarded: u32,
    limits: Limits,
    counters: Counters,
}

impl ChunkReader {
    /// A reader at the first byte after the handshake. Of `limits` it uses lengths, chunk streams, partial bytes,
    /// chunk size changes and discarded partials.
    pub fn new(limits: Limits) -> ChunkReader {
        ChunkReader {
            chunk_size: usize::try_from(CHUNK_SIZE_INITIAL).unwrap_or(128),
            streams: Vec::new(),
            recent: 0,
            open: None,
            slab: Slab::default(),
            partial_bytes: 0,
            partial_bytes_max: limits.partial_bytes_max,
            chunk_size_changes: 0,
            discarded: 0,
            limits,
            counters: Counters::default(),
        }
    }

    /// The next whole message, or `None` when `input` holds no more of one. Consumes from the front of `input`
    /// whatever is usable, parts of a payload included; at most [`HEADER_BYTES_MAX`] bytes are left after `None`.
    ///
    /// A message of more than 4 KiB that lies in `input` whole, in one chunk, becomes a slice of it. Any other is gathered: up to 32 KiB into
    /// a place beside other messages, in a buffer of at most 128 KiB; else into one of its own size, which grows as bytes arrive
    /// and never from the announced length.
    ///
    /// # Errors
    /// [`Error`]; the reader is then of no further use.
    pub fn read(&mut self, input: &mut BytesMut) -> Result<Option<Message>, Error> {
        loop {
            let (consumed, step) = self.step(input)?;
            input.advance(consumed);
            let message = match step {
                Step::More => return Ok(None),
                Step::Gathered(message) => message,
                Step::Slice { index, length } => {
                    self.counters.bytes_received += length as u64;
                    // `step` saw all of it behind what it consumed.
                    let mut payload;
                    if length <= COPIED_BYTES_MAX {
                        payload = self.slab.take(length);
                        payload.extend_from_slice(input.get(..length).unwrap_or_default());
                        input.advance(length);
                    } else {
                        payload = input.split_to(length);
                    }
                    let payload = payload.freeze();
                    match self.streams.get(index) {
                        Some(stream) => stream.message(payload),
                        None => continue,
                    }
                }
            };
            self.counters.messages += 1;
            match message.type_id {
                type_id::SET_CHUNK_SIZE => self.set_chunk_size(&message.payload)?,
                type_id::ABORT => self.abort(&message.payload),
                type_id if Class::of(type_id) == Class::Unknown => self.counters.unknown_messages += 1,
                _ => return Ok(Some(message)),
            }
        }
    }

    /// How many bytes unfinished messages may need from now on.
    pub(crate) fn set_partial_bytes_max(&mut self, max: usize) {
        self.partial_bytes_max = max;
    }

    /// What was tolerated so far; only the fields about chunks move here.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(crate) fn counters_mut(&mut self) -> &mut Counters {
        &mut self.counters
    }

    /// Bytes allocated for unfinished messages.
    pub fn partial_bytes(&self) -> usize {
        self.partial_bytes
    }

    /// The longest message that has begun and is not complete.
    pub fn unfinished(&self) -> Option<Unfinished> {
        let messages = self.streams.iter().filter(|stream| stream.receiving);
        messages.max_by_key(|stream| stream.length).map(|stream| {
            let payload = stream.length.saturating_sub(stream.received);
            // Each further chunk has a header of a byte at least.
            let open = self.open.map_or(0, |open| open.remaining);
            let chunks = payload.saturating_sub(open).div_ceil(self.chunk_size.max(1));
            Unfinished { length: stream.length, missing: payload.saturating_add(chunks) }
        })
    }

    /// Panics when the books don't balance; for tests and fuzzing.
    #[doc(hidden)]
    pub fn check_invariants(&self) {
        assert_eq!(
            self.partial_bytes,
            self.streams.iter().map(|stream| stream.body.capacity()).sum::<usize>()
        );
        assert!(self.partial_bytes <= self.partial_bytes_max);
        assert!(self.streams.len() <= self.limits.chunk_streams_max);
        assert!((1..=limits::CHUNK_SIZE_MAX as usize).contains(&self.chunk_size));
        for stream in &self.streams {
            assert!(stream.received <= stream.length && stream.body.len() <= stream.received);
            assert!(stream.receiving || (stream.received == 0 && stream.body.capacity() == 0));
            assert!(stream.body.capacity() <= SLAB_MESSAGE_BYTES_MAX.max(2 * stream.received));
        }
        if let Some(open) = self.open {
            assert!(open.remaining > 0 && self.streams.get(open.index).is_some_and(|s| s.receiving));
        }
    }

    /// Consumes as many chunks of `data` as it can until a message is complete; returns the bytes consumed.
    fn step(&mut self, data: &[u8]) -> Result<(usize, Step), Error> {
        let mut rest = data;
        loop {
            let (index, wanted) = match self.open {
                Some(open) => (open.index, open.remaining),
                None => {
                    let Some(header) = self.parse_header(rest) else {
                        return Ok((data.len() - rest.len(), Step::More));
                    };
                    let index = self.begin_chunk(&header)?;
                    self.counters.bytes_received += header.bytes as u64;
                    rest = rest.get(header.bytes..).unwrap_or(&[]);
                    let Some(stream) = self.streams.get_mut(index) else { continue };
                    let wanted = stream.length.saturating_sub(stream.received).min(self.chunk_size);
                    if stream.received == 0 && wanted == stream.length && rest.len() >= wanted {
                        stream.receiving = false;
                        return Ok((data.len() - rest.len(), Step::Slice { index, length: wanted }));
                    }
                    (index, wanted)
                }
            };
            let (piece, after) = rest.split_at_checked(wanted).unwrap_or((rest, &[]));
            self.gather(index, piece)?;
            rest = after;
            self.open = match wanted.checked_sub(piece.len()) {
                None | Some(0) => None,
                Some(remaining) => Some(OpenChunk { index, remaining }),
            };
            if let Some(message) = self.take_complete(index) {
                return Ok((data.len() - rest.len(), Step::Gathered(message)));
            }
            if self.open.is_some() {
                // The payload goes on in bytes that have not come.
                return Ok((data.len() - rest.len(), Step::More));
            }
        }
    }

    /// Parses the header at the front of `data`, from its start each time; `None` when it is not complete.
    fn parse_header(&self, data: &[u8]) -> Option<Header> {
        let (&first, rest) = data.split_first()?;
        let fmt = first >> 6;
        let (csid, rest) = match first & 0x3f {
            0 => {
                let (&low, rest) = rest.split_first()?;
                (u32::from(low) + 64, rest)
            }
            1 => {
                let (&[low, high], rest) = rest.split_first_chunk::<2>()?;
                (u32::from(low) + u32::from(high) * 256 + 64, rest)
            }
            csid => (u32::from(csid), rest),
        };
        let mut header = Header {
            fmt,
            csid,
            bytes: 0,
            time: None,
            extended: false,
            length_and_type: None,
            stream_id: None,
        };
        let (time, rest) = match fmt {
            0 => {
                let (&[t0, t1, t2, l0, l1, l2, type_id, s0, s1, s2, s3], rest) =
                    rest.split_first_chunk::<11>()?;
                header.length_and_type = Some((u32::from_be_bytes([0, l0, l1, l2]), type_id));
                // The one little-endian field of the protocol (RTMP 1.0 5.3.1.2.1 leaves it unsaid).
                header.stream_id = Some(u32::from_le_bytes([s0, s1, s2, s3]));
                (u32::from_be_bytes([0, t0, t1, t2]), rest)
            }
            1 => {
                let (&[t0, t1, t2, l0, l1, l2, type_id], rest) = rest.split_first_chunk::<7>()?;
                header.length_and_type = Some((u32::from_be_bytes([0, l0, l1, l2]), type_id));
                (u32::from_be_bytes([0, t0, t1, t2]), rest)
            }
            2 => {
                let (&[t0, t1, t2], rest) = rest.split_first_chunk::<3>()?;
                (u32::from_be_bytes([0, t0, t1, t2]), rest)
            }
            _ => return self.parse_type_3(header, data.len(), rest),
        };
        let rest = if time == EXTENDED {
            let (extended, rest) = split_u32(rest)?;
            header.time = Some(extended);
            header.extended = true;
            rest
        } else {
            header.time = Some(time);
            rest
        };
        header.bytes = data.len() - rest.len();
        Some(header)
    }

    fn parse_type_3(&self, mut header: Header, data_bytes: usize, rest: &[u8]) -> Option<Header> {
        header.bytes = data_bytes - rest.len();
        let stream = self.find(header.csid).and_then(|index| self.streams.get(index));
        let Some((stream, extended)) = stream.and_then(|stream| Some((stream, stream.extended?))) else {
            return Some(header);
        };
        let present = if stream.receiving {
            let expected = extended.to_be_bytes();
            let matching = rest.iter().zip(expected).take_while(|(have, want)| **have == *want).count();
            if matching < expected.len() && matching == rest.len() {
                return None; // undecided until more bytes are there
            }
            matching == expected.len()
        } else {
            true // it begins a message: always present
        };
        if present {
            header.time = Some(split_u32(rest)?.0);
            header.extended = true;
            header.bytes += 4;
        }
        Some(header)
    }

    fn find(&self, csid: u32) -> Option<usize> {
        match self.streams.get(self.recent) {
            Some(stream) if stream.csid == csid => Some(self.recent),
            _ => self.streams.iter().position(|stream| stream.csid == csid),
        }
    }

    /// Applies a header: finds or makes the chunk stream, begins a message unless one is being continued, and
    /// returns the stream's index.
    fn begin_chunk(&mut self, header: &Header) -> Result<usize, Error> {
        let offset = self.counters.bytes_received;
        let Header { fmt, csid, .. } = *header;
        let index = match self.find(csid) {
            Some(index) => index,
            None => {
                // librtmp begins the control stream with a type 1 (SetBufferLength): previous time and id 0.
                if !(fmt == 0 || (fmt == 1 && csid == CSID_CONTROL)) {
                    return Err(Error::MissingHeader { offset, csid, fmt });
                }
                if self.streams.len() >= self.limits.chunk_streams_max {
                    return Err(Error::ChunkStreams { offset, csid, max: self.limits.chunk_streams_max });
                }
                self.streams.push(ChunkStream::new(csid));
                self.streams.len() - 1
            }
        };
        self.recent = index;
        let continues = fmt == 3 && self.streams.get(index).is_some_and(|stream| stream.receiving);
        if continues {
            if !header.extended && self.streams.get(index).is_some_and(|stream| stream.extended.is_some()) {
                self.counters.extended_timestamps_omitted += 1;
            }
            return Ok(index);
        }
        if self.drop_partial(index) {
            // A new header in the middle of a message: the old one is never glued to it (CVE-2016-10191).
            self.counters.discarded_partials += 1;
            self.discarded = self.discarded.saturating_add(1);
            if self.discarded > self.limits.discarded_partials_max {
                let max = self.limits.discarded_partials_max;
                return Err(Error::DiscardedPartials { offset, csid, max });
            }
        }
        let (length, type_id) = match (header.length_and_type, self.streams.get(index)) {
            (Some((length, type_id)), _) => (usize::try_from(length).unwrap_or(usize::MAX), type_id),
            (None, Some(stream)) => (stream.length, stream.type_id),
            (None, None) => (0, 0),
        };
        if let Some((length, type_id)) = header.length_and_type {
            let max = self.message_bytes_max(type_id);
            if length > max {
                return Err(Error::MessageLength { offset, csid, type_id, length, max });
            }
        }
        let step = self.time_step(index, header);
        let Some(stream) = self.streams.get_mut(index) else { return Ok(index) };
        stream.timestamp = match (fmt, header.time) {
            (0, Some(time)) => time,
            _ => stream.timestamp.wrapping_add(step),
        };
        if fmt != 3 {
            stream.step = step;
            stream.step_is_absolute = fmt == 0;
            stream.extended = if header.extended { header.time } else { None };
        }
        stream.length = length;
        stream.type_id = type_id;
        stream.stream_id = header.stream_id.unwrap_or(stream.stream_id);
        stream.receiving = true;
        Ok(index)
    }

    /// The time step of a message that begins with `header`; for a type 0 its timestamp, which a type 3 may repeat.
    fn time_step(&mut self, index: usize, header: &Header) -> u32 {
        let Some(stream) = self.streams.get(index) else { return 0 };
        if header.fmt != 3 {
            return header.time.unwrap_or(0);
        }
        let step = header.time.unwrap_or(stream.step);
        if !stream.step_is_absolute || step <= REPEATED_STEP_MAX_MS {
            return step;
        }
        let candidate = stream.timestamp.wrapping_add(step);
        let witnessed = self.streams.iter().any(|other| {
            other.csid != stream.csid
                && matches!(other.type_id, type_id::AUDIO | type_id::VIDEO)
                && other.timestamp.wrapping_sub(candidate).cast_signed().unsigned_abs()
                    <= REPEATED_STEP_MAX_MS
        });
        if witnessed {
            return step;
        }
        self.counters.zero_step_decisions += 1;
        0
    }

    fn message_bytes_max(&self, type_id: u8) -> u32 {
        match Class::of(type_id) {
            Class::Control => limits::CONTROL_MESSAGE_BYTES_MAX,
            Class::Command => self.limits.command_message_bytes_max,
            Class::Data => self.limits.data_message_bytes_max,
            // What is skipped is not stored, so its length costs nothing.
            Class::Media | Class::Unknown => self.limits.media_message_bytes_max,
        }
    }

    /// Adds `piece` to the message of stream `index`.
    fn gather(&mut self, index: usize, piece: &[u8]) -> Result<(), Error> {
        let Some(stream) = self.streams.get_mut(index) else { return Ok(()) };
        let received = stream.received.saturating_add(piece.len());
        if Class::of(stream.type_id) != Class::Unknown {
            if received > stream.body.capacity() {
                let in_slab = stream.length <= SLAB_MESSAGE_BYTES_MAX;
                let grown = FIRST_ALLOCATION_BYTES.max(received.saturating_mul(2)).min(stream.length);
                let capacity = if in_slab { stream.length } else { grown };
                let before = stream.body.capacity();
                let after = self.partial_bytes.saturating_add(capacity.saturating_sub(before));
                if after > self.partial_bytes_max {
                    return Err(Error::PartialBytes {
                        offset: self.counters.bytes_received,
                        csid: stream.csid,
                        max: self.partial_bytes_max,
                    });
                }
                let mut body =
                    if in_slab { self.slab.take(capacity) } else { BytesMut::with_capacity(capacity) };
                body.extend_from_slice(&stream.body);
                stream.body = body;
                self.partial_bytes =
                    self.partial_bytes.saturating_add(stream.body.capacity().saturating_sub(before));
            }
            stream.body.extend_from_slice(piece);
        }
        stream.received = received;
        self.counters.bytes_received += piece.len() as u64;
        Ok(())
    }

    fn take_complete(&mut self, index: usize) -> Option<Message> {
        let stream = self.streams.get_mut(index)?;
        if !stream.receiving || stream.received < stream.length {
            return None;
        }
        let body = std::mem::take(&mut stream.body);
        stream.receiving = false;
        stream.received = 0;
        self.partial_bytes = self.partial_bytes.saturating_sub(body.capacity());
        Some(stream.message(body.freeze()))
    }

    /// Forgets the unfinished message of a stream; its header state stays. Returns whether there was one.
    fn drop_partial(&mut self, index: usize) -> bool {
        let Some(stream) = self.streams.get_mut(index) else { return false };
        let body = std::mem::take(&mut stream.body);
        self.partial_bytes = self.partial_bytes.saturating_sub(body.capacity());
        stream.received = 0;
        std::mem::take(&mut stream.receiving)
    }

    /// RTMP 1.0 5.4.1: in force at once, even between the chunks of other messages.
    fn set_chunk_size(&mut self, payload: &[u8]) -> Result<(), Error> {
        let Some((size, _)) = split_u32(payload) else {
            self.counters.ignored_controls += 1;
            return Ok(());
        };
        let offset = self.counters.bytes_received;
        self.chunk_size_changes = self.chunk_size_changes.saturating_add(1);
        if self.chunk_size_changes > self.limits.chunk_size_changes_max {
            return Err(Error::ChunkSizeChanges { offset, max: self.limits.chunk_size_changes_max });
        }
        if size == 0 || size > limits::CHUNK_SIZE_MAX {
            return Err(Error::ChunkSize { offset, size });
        }
        self.chunk_size = usize::try_from(size).unwrap_or(usize::MAX);
        Ok(())
    }

    /// RTMP 1.0 5.4.2. Naming a chunk stream without an unfinished message changes nothing.
    fn abort(&mut self, payload: &[u8]) {
        let Some((csid, _)) = split_u32(payload) else {
            self.counters.ignored_controls += 1;
            return;
        };
        if self.find(csid).is_some_and(|index| self.drop_partial(index)) {
            self.counters.aborted_partials += 1;
        }
    }
}
