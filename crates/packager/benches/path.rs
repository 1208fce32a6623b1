//! A stream's whole way, from the bytes of a socket to the snapshot that readers get: what a frame costs in allocations and time, and
//! what a rendering costs.
//!
//! ```text
//! cargo bench -p headwater-packager --bench path                    a table
//! cargo bench -p headwater-packager --bench path -- turns NAME N    N turns of one kind of work, for a profiler
//! cargo bench -p headwater-packager --bench path -- json            allocations, for `cargo xtask bench instructions`
//! ```
//!
//! A turn of ingest is the 16 s of `sample-media/clip.flv` (480 pictures, 750 frames of sound) in chunks of 4,096 bytes, read by at most
//! 16 KiB, when the window has slid for a while. Copying into the read buffer stands for the kernel's part. A turn of rendering is a
//! thousand renderings of the same version. All of a turn happens in `measured_turn`, which callgrind is told to look at.
#![allow(clippy::print_stdout, reason = "it prints its result")]

use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use headwater_flv::{Demuxer, FlvReader, TagKind};
use headwater_media::{Event, TrackKind, WallTime};
use headwater_packager::{Clock, Config, Numbering, Packager, Snapshot};
use headwater_rtmp::amf0::Value;
use headwater_rtmp::handshake::RANDOM_BYTES;
use headwater_rtmp::message::type_id;
use headwater_rtmp::{ChunkReader, ChunkWriter, Command, Limits, MessageKind, ServerConnection, ServerEvent};

const CLIP: &[u8] = include_bytes!("../../../sample-media/clip.flv");
const CLIP_MS: u32 = 16_000;
const CLIP_FRAMES: u32 = 480 + 750;

/// As a connection reads: what a socket has when a few frames came.
const READ_BYTES: usize = 16 << 10;

/// Turns before one counts: until segments leave the window, and what is kept beyond it.
const WARM_UP: usize = 5;

/// Renderings in a turn.
const RENDERINGS: u32 = 1_000;

/// 2026-01-31T12:00:00Z.
const START_MS: i64 = 1_769_860_800_000;

/// Something that is done over and over.
struct Work {
    name: &'static str,
    unit: &'static str,
    /// Of these in a turn.
    count: u32,
    /// Makes it ready for so many turns.
    prepare: fn(usize) -> Box<dyn FnMut()>,
}

const WORKS: &[Work] = &[
    Work { name: "chunks-128", unit: "frame", count: CLIP_FRAMES, prepare: |turns| chunks(128, turns) },
    Work { name: "chunks-4096", unit: "frame", count: CLIP_FRAMES, prepare: |turns| chunks(4_096, turns) },
    Work { name: "chunks-65536", unit: "frame", count: CLIP_FRAMES, prepare: |turns| chunks(65_536, turns) },
    Work { name: "rtmp-flv", unit: "frame", count: CLIP_FRAMES, prepare: |turns| ingest(None, turns) },
    Work {
        name: "ingest-ts",
        unit: "frame",
        count: CLIP_FRAMES,
        prepare: |turns| ingest(Some(&ts()), turns),
    },
    Work {
        name: "ingest-cmaf",
        unit: "frame",
        count: CLIP_FRAMES,
        prepare: |turns| ingest(Some(&Config { hls: false, ..Config::default() }), turns),
    },
    Work {
        name: "ingest-all",
        unit: "frame",
        count: CLIP_FRAMES,
        prepare: |turns| ingest(Some(&Config::default()), turns),
    },
    Work {
        name: "render-hls",
        unit: "rendering",
        count: RENDERINGS,
        prepare: |_| render(Snapshot::media_playlist),
    },
    Work {
        name: "render-llhls",
        unit: "rendering",
        count: RENDERINGS,
        prepare: |_| render(|snapshot| snapshot.cmaf_media_playlist(TrackKind::Video)),
    },
    Work {
        name: "render-mpd",
        unit: "rendering",
        count: RENDERINGS,
        prepare: |_| render(|snapshot| snapshot.mpd(None)),
    },
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        [] => table(),
        ["json"] => json(),
        ["turns", name, turns] => {
            let work = WORKS.iter().find(|work| work.name == *name).expect("a name of the table");
            let turns = turns.parse().expect("a number of turns");
            let mut work = (work.prepare)(turns);
            (0..turns).for_each(|_| measured_turn(&mut *work));
        }
        _ => panic!("nothing, json, or turns NAME N"),
    }
}

/// Not inlined, so that its name is there to be looked for.
#[inline(never)]
fn measured_turn(work: &mut dyn FnMut()) {
    work();
}

/// Allocations and bytes of one turn, and the time of the fastest of five others.
#[expect(clippy::disallowed_methods, reason = "how long the work takes is what is asked")]
fn measure(work: &Work) -> (u64, u64, Duration) {
    const TURNS: usize = 5;
    let mut run = (work.prepare)(TURNS + 1);
    let allocations = allocation_counter::measure(|| measured_turn(&mut *run));
    let times = (0..TURNS).map(|_| {
        let began = Instant::now();
        measured_turn(&mut *run);
        began.elapsed()
    });
    (allocations.count_total, allocations.bytes_total, times.min().unwrap_or_default())
}

fn table() {
    println!("{:<14}{:>14}{:>14}{:>12}", "", "allocations", "bytes", "ns");
    for work in WORKS {
        let (count, bytes, time) = measure(work);
        let per = |of: f64| of / f64::from(work.count);
        let ns = time.as_nanos() as f64;
        println!(
            "{:<14}{:>14.2}{:>14.0}{:>12.0}  per {}",
            work.name,
            per(count as f64),
            per(bytes as f64),
            per(ns),
            work.unit
        );
    }
}

fn json() {
    let rows: Vec<String> = WORKS
        .iter()
        .map(|work| {
            let (count, ..) = measure(work);
            format!("\"{}\": {{\"allocations\": {count}, \"count\": {}}}", work.name, work.count)
        })
        .collect();
    println!("{{{}}}", rows.join(", "));
}

fn ts() -> Config {
    Config { cmaf: false, ..Config::default() }
}

/// The bytes of a publication, turn by turn.
struct Publisher {
    writer: ChunkWriter,
    stamp_ms: u32,
}

impl Publisher {
    /// What comes before the media: the handshake and the commands.
    fn begin() -> (Publisher, BytesMut) {
        let mut out = BytesMut::from(&[3][..]);
        out.resize(1 + 2 * (RANDOM_BYTES + 8), 0);
        let mut writer = ChunkWriter::new();
        writer.set_chunk_size(4_096, &mut out);
        let connect =
            Value::object([("app", Value::string("live")), ("tcUrl", Value::string("rtmp://h/live"))]);
        for (name, transaction_id, stream_id, object, arguments) in [
            ("connect", 1.0, 0, connect, vec![]),
            ("createStream", 2.0, 0, Value::Null, vec![]),
            ("publish", 3.0, 1, Value::Null, vec![Value::string("cam"), Value::string("live")]),
        ] {
            let command = Command { name: name.to_owned(), transaction_id, object, arguments };
            writer.write(&mut out, 3, 0, type_id::COMMAND_AMF0, stream_id, &command.encode());
        }
        (Publisher { writer, stamp_ms: 0 }, out)
    }

    fn turn(&mut self) -> Bytes {
        let mut out = BytesMut::new();
        for tag in FlvReader::new(Bytes::from_static(CLIP)).expect("a clip") {
            let tag = tag.expect("a whole clip");
            let (csid, kind) = match tag.kind {
                TagKind::Video => (6, type_id::VIDEO),
                TagKind::Audio => (4, type_id::AUDIO),
                TagKind::Data => continue,
            };
            self.writer.write(&mut out, csid, self.stamp_ms + tag.timestamp_ms, kind, 1, &tag.body);
        }
        self.stamp_ms += CLIP_MS;
        out.freeze()
    }
}

/// Reassembly alone.
fn chunks(chunk_size: u32, turns: usize) -> Box<dyn FnMut()> {
    let mut head = BytesMut::new();
    let mut publisher = Publisher { writer: ChunkWriter::new(), stamp_ms: 0 };
    publisher.writer.set_chunk_size(chunk_size, &mut head);
    let mut turns: VecDeque<Bytes> = (0..turns).map(|_| publisher.turn()).collect();
    let mut reader = ChunkReader::new(Limits::default());
    let mut input = BytesMut::with_capacity(64 << 10);
    let mut read = move |bytes: &[u8]| {
        for piece in bytes.chunks(READ_BYTES) {
            input.reserve(READ_BYTES);
            input.extend_from_slice(piece);
            while let Some(message) = reader.read(&mut input).expect("our own bytes") {
                black_box(message);
            }
        }
    };
    read(&head);
    Box::new(move || read(&turns.pop_front().expect("as many turns as were made ready")))
}

/// The publisher's task without its socket; without a packager up to the samples.
struct Ingest {
    connection: ServerConnection,
    input: BytesMut,
    demuxer: Demuxer,
    events: Vec<Event>,
    packager: Option<Packager>,
    newest: Option<Arc<Snapshot>>,
    /// Time runs with the stamps, as if each message came when it was due.
    now: Duration,
}

impl Ingest {
    fn new(config: Option<&Config>) -> Ingest {
        let numbering =
            Numbering { media_sequence: 1_769_860_800, discontinuity_sequence: 5, resumed: false };
        let mut packager = config.map(|config| Packager::new(config, numbering));
        let is_whole = config.is_some_and(|config| config.hls && config.cmaf);
        if let Some(packager) = &mut packager {
            if is_whole {
                packager.hand_placed_to(|placed| drop(black_box(placed)));
            }
            packager.begin_session(clock(Duration::ZERO));
        }
        Ingest {
            connection: ServerConnection::new(Limits::default(), [7; RANDOM_BYTES], Duration::ZERO),
            input: BytesMut::with_capacity(64 << 10),
            demuxer: Demuxer::new(),
            events: Vec::new(),
            packager,
            newest: None,
            now: Duration::ZERO,
        }
    }

    fn read(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(READ_BYTES) {
            self.input.reserve(READ_BYTES);
            self.input.extend_from_slice(piece);
            self.connection.handle_input(&mut self.input, self.now).expect("our own bytes");
            while let Some(event) = self.connection.poll_event() {
                self.event(event);
            }
            black_box(self.connection.take_output());
        }
    }

    fn event(&mut self, event: ServerEvent) {
        let message = match event {
            ServerEvent::Publish(request) => return self.connection.accept_publish(request.stream_id),
            ServerEvent::Media(message) => message,
            _ => return,
        };
        self.now = self.now.max(Duration::from_millis(u64::from(message.timestamp)));
        let (time, body) = (message.timestamp, message.payload);
        match message.kind {
            MessageKind::Audio => self.demuxer.audio(time, body, &mut self.events),
            MessageKind::Video => self.demuxer.video(time, body, &mut self.events),
            _ => Ok(()),
        }
        .expect("our own tags");
        for event in self.events.drain(..) {
            let Some(packager) = &mut self.packager else {
                black_box(event);
                continue;
            };
            packager.push(event, clock(self.now)).expect("a stream that can be packaged");
            if let Some(snapshot) = packager.poll_snapshot(clock(self.now).wall) {
                self.newest = Some(snapshot);
            }
        }
    }
}

fn clock(now: Duration) -> Clock {
    let ms = i64::try_from(now.as_millis()).expect("less than millions of years");
    Clock { now, wall: WallTime::from_unix_millis(START_MS).offset_by(ms) }
}

/// An ingest whose window has slid for a while, and so many turns to come.
fn warm(config: Option<&Config>, turns: usize) -> (Ingest, VecDeque<Bytes>) {
    let (mut publisher, head) = Publisher::begin();
    let mut ingest = Ingest::new(config);
    ingest.read(&head);
    for _ in 0..WARM_UP {
        ingest.read(&publisher.turn());
    }
    let turns = (0..turns).map(|_| publisher.turn()).collect();
    (ingest, turns)
}

fn ingest(config: Option<&Config>, turns: usize) -> Box<dyn FnMut()> {
    let (mut ingest, mut turns) = warm(config, turns);
    Box::new(move || ingest.read(&turns.pop_front().expect("as many turns as were made ready")))
}

/// Of a window of 60 s, 30 segments, and with 36 parts or more where there are parts.
fn render(render: fn(&Snapshot) -> Option<Vec<u8>>) -> Box<dyn FnMut()> {
    let config = Config { window: Duration::from_secs(60), ..Config::default() };
    let (ingest, _) = warm(Some(&config), 0);
    let snapshot = ingest.newest.expect("a stream that has begun");
    Box::new(move || {
        for _ in 0..RENDERINGS {
            black_box(render(black_box(&snapshot))).expect("a playlist");
        }
    })
}
