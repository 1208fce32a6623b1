//! Body of the fuzz target, run over random scripts by the ordinary tests.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use headwater_codec::scte35::SpliceInfo;
use headwater_manifest::{dash, hls};
use headwater_media::{
    AudioCodec, AudioConfig, Cause, Event, MediaTime, Sample, Timescale, TrackConfig, TrackId, TrackKind,
    VideoCodec, VideoConfig, WallTime,
};

use crate::{
    Clock, Cmaf, Config, Cue, Kept, KeptError, NotedPeriod, Numbering, Packager, RangeCue, Refusal, Snapshot,
};

/// A publisher that follows a script: whatever it does, what must hold holds after each step, every playlist and MPD obeys the
/// rules, and every version follows from the one before.
///
/// The script's bytes come in twos: what is done, and how much of it. One that is left over is a budget: from less than the
/// shortest list takes to more than the whole window does.
///
/// # Panics
/// When something does not hold.
pub fn packager(script: &[u8]) {
    let numbering = Numbering { media_sequence: 1_000, discontinuity_sequence: 7, resumed: false };
    let mut config = Config::default();
    if let ([.., knob], false) = (script, script.len().is_multiple_of(2)) {
        config.bytes_max = BUDGET_MIN_BYTES + u64::from(*knob) * BUDGET_STEP_BYTES;
    }
    config.timed_metadata = script.first().is_some_and(|first| first.is_multiple_of(2));
    let mut stage = Stage::new(config, numbering);
    let mut steps = script.iter();
    while let (Some(action), Some(amount)) = (steps.next(), steps.next()) {
        stage.act(*action, *amount);
    }
}

/// What another process reads of a stream that was kept, with some of its bytes changed: it is refused, or a stream that can be told of.
///
/// The script's bytes come in threes: a place, as a share of the file's header in 65,536 parts, and what is written there. The checksum is made
/// to fit, so that what lies behind it is reached.
///
/// # Panics
/// When something does not hold.
pub fn kept(script: &[u8]) {
    static FILE: LazyLock<(Vec<u8>, usize)> = LazyLock::new(|| {
        let kept = kept_stream();
        (file(&kept), kept.head().expect("it can be written").len())
    });
    let (original, head) = &*FILE;
    let mut changed = original.clone();
    for step in script.chunks_exact(3) {
        let [high, low, value] = *step else { continue };
        let share = usize::from(u16::from_be_bytes([high, low]));
        if let Some(byte) = changed.get_mut(share * head / 65_536) {
            *byte = value;
        }
    }
    if changed != *original {
        let refused = Kept::read(&Bytes::from(changed.clone())).expect_err("its checksum does not fit");
        assert!(matches!(refused, KeptError::Damaged | KeptError::Version), "{refused}");
        if let Some((sum, rest)) = changed.get_mut(8..).and_then(<[u8]>::split_first_chunk_mut::<4>) {
            *sum = crc32fast::hash(rest).to_be_bytes();
        }
    }
    let Ok(kept) = Kept::read(&Bytes::from(changed)) else { return };
    let numbering = Numbering {
        media_sequence: kept.header.next,
        discontinuity_sequence: kept.header.discontinuities,
        resumed: true,
    };
    let config = Config { timed_metadata: kept.header.timed_metadata, ..Config::default() };
    let clock = Clock { now: Duration::ZERO, wall: kept.ended_at() };
    let Ok(mut packager) = Packager::restore(&config, numbering, kept, clock) else { return };
    let Some(snapshot) = packager.poll_snapshot(clock.wall) else { return };
    // What it says is what somebody made up; it can be said.
    let _ =
        (snapshot.media_playlist(), snapshot.multivariant_playlist(), snapshot.cmaf_multivariant_playlist());
    for kind in [TrackKind::Video, TrackKind::Audio] {
        let _ = (snapshot.cmaf_media_playlist(kind), snapshot.cmaf_delta_update(kind));
    }
    let _ =
        (snapshot.mpd(None), snapshot.low_latency_mpd(None), snapshot.poster(), snapshot.listed_duration());
    let _ = (packager.memory(), packager.keep());
}

/// A stream of 8 s that was kept, with two configurations of its sound and something said.
///
/// # Panics
/// When it is not kept.
pub fn kept_stream() -> Kept {
    let mut stage = Stage::new(
        Config { timed_metadata: true, ..Config::default() },
        Numbering { media_sequence: 1_000, discontinuity_sequence: 7, resumed: false },
    );
    stage.play(50, true, true);
    stage.cue(1);
    stage.configure_audio(1);
    stage.cue(3);
    stage.play(50, true, true);
    stage.packager.end_session(Cause::Lost, stage.clock());
    stage.packager.keep().expect("segments are listed")
}

/// What a note says of a stream's Period, with some of its bytes changed: it is refused, or listed in MPDs that can be told, with media behind
/// it.
///
/// The script's bytes come in threes: a place, as a share of the note in 65,536 parts, and what is written there.
///
/// # Panics
/// When something does not hold.
pub fn noted(script: &[u8]) {
    static NOTE: LazyLock<Vec<u8>> =
        LazyLock::new(|| serde_json::to_vec(&noted_period()).expect("it can be written"));
    let mut note = NOTE.clone();
    let length = note.len();
    for step in script.chunks_exact(3) {
        let [high, low, value] = *step else { continue };
        let share = usize::from(u16::from_be_bytes([high, low]));
        if let Some(byte) = note.get_mut(share * length / 65_536) {
            *byte = value;
        }
    }
    let Ok(noted) = serde_json::from_slice::<NotedPeriod>(&note) else { return };
    let numbering = Numbering { media_sequence: 1_100, discontinuity_sequence: 8, resumed: true };
    let mut stage = Stage::new(Config::default(), numbering);
    let is_listed = stage.packager.list_as_over(&noted);
    assert!(is_listed || note != *NOTE, "as it was written it is listed");
    stage.is_made_up = note != *NOTE;
    // Three segments: as many MPDs with it.
    stage.play(100, true, true);
}

/// What is noted of the Period of a stream that has been live for 8 s.
///
/// # Panics
/// When nothing is.
pub fn noted_period() -> NotedPeriod {
    let numbering = Numbering { media_sequence: 1_000, discontinuity_sequence: 7, resumed: false };
    let mut stage = Stage::new(Config::default(), numbering);
    stage.play(100, true, true);
    stage.packager.noted_period().expect("segments are listed")
}

/// What is kept as a file.
fn file(kept: &Kept) -> Vec<u8> {
    let mut file = kept.head().expect("it can be written");
    kept.bodies().iter().for_each(|body| file.extend_from_slice(body));
    file
}

/// The smallest budget: a few seconds of [`Stage::play`], which makes some 20 KB a second.
const BUDGET_MIN_BYTES: u64 = 48 << 10;

/// Times 255, that is the 48 s that a window and what it retains hold.
const BUDGET_STEP_BYTES: u64 = 4 << 10;

/// One sample's packets beyond its own bytes, and the tables of a segment.
const BUDGET_SLACK_BYTES: u64 = 64 << 10;

/// How far a publisher's media may be ahead of the clock.
const AHEAD_MAX: Duration = Duration::from_secs(10);

fn playlists() -> [hls::check::Checker; 3] {
    ["ts", "video", "audio"].map(|rendition| hls::check::Checker::new(&format!("{rendition}/media.m3u8")))
}

struct Stage {
    config: Config,
    packager: Packager,
    bytes_max: u64,
    timed_metadata: bool,
    /// A reader that has stopped in the middle of a version.
    held_by_a_reader: Option<Arc<Snapshot>>,
    now_ms: u64,
    wall_set_ms: i64,
    /// The publisher's own clocks, modulo 2^32.
    video_ms: u32,
    audio_ms: u32,
    frames: u32,
    clock_was_set: bool,
    /// What MPDs say of a Period of before is what somebody made up.
    is_made_up: bool,
    playlists: [hls::check::Checker; 3],
    mpds: dash::check::Checker,
}

impl Stage {
    /// A publisher begins.
    fn new(config: Config, numbering: Numbering) -> Stage {
        let mut stage = Stage {
            packager: Packager::new(&config, numbering),
            bytes_max: config.bytes_max,
            timed_metadata: config.timed_metadata,
            config,
            held_by_a_reader: None,
            now_ms: 0,
            wall_set_ms: 0,
            video_ms: 0,
            audio_ms: 0,
            frames: 0,
            clock_was_set: false,
            is_made_up: false,
            playlists: playlists(),
            mpds: dash::check::Checker::new(),
        };
        stage.packager.begin_session(stage.clock());
        stage.configure_video(0);
        stage.configure_audio(0);
        stage
    }

    fn clock(&self) -> Clock {
        let wall =
            1_769_860_800_000_i64.saturating_add_unsigned(self.now_ms).saturating_add(self.wall_set_ms);
        Clock { now: Duration::from_millis(self.now_ms), wall: WallTime::from_unix_millis(wall) }
    }

    fn act(&mut self, action: u8, amount: u8) {
        let many = u32::from(amount);
        if action >= 0xf8 {
            self.cue(amount);
            return;
        }
        match action % 24 {
            // Mostly: media about as it should be, up to 8 s of it.
            0..=9 => self.play(many % 100 + 1, true, true),
            10 => self.play(many, true, false),
            11 => self.play(many, false, true),
            // Nothing comes, and the stamps go on or don't.
            12 => self.pause(u64::from(amount) * 40),
            13 => {
                self.pause(u64::from(amount) * 40);
                self.video_ms = self.video_ms.wrapping_add(many * 40);
                self.audio_ms = self.audio_ms.wrapping_add(many * 40);
            }
            // Jumps of one or both clocks, small, large, back and forth.
            14 => self.video_ms = self.video_ms.wrapping_add(many * 30),
            15 => self.audio_ms = self.audio_ms.wrapping_sub(many * 15),
            16 => {
                let jump = (many + 1).wrapping_mul(60_000);
                self.video_ms = self.video_ms.wrapping_add(jump);
                self.audio_ms = self.audio_ms.wrapping_add(jump);
            }
            17 => {
                let jump = (many + 1).wrapping_mul(16_700_000);
                self.video_ms = self.video_ms.wrapping_sub(jump);
                self.audio_ms = self.audio_ms.wrapping_sub(jump);
            }
            // One stray picture, wherever.
            18 => {
                let stray = self.video_ms.wrapping_add(many.wrapping_mul(16_777_259));
                self.video(stray, 0, amount.is_multiple_of(2));
            }
            // Presentation before decoding, equal and falling decode times.
            19 => {
                self.video(self.video_ms, -i32::from(amount), false);
                self.video(self.video_ms.wrapping_sub(many), i32::from(amount), false);
            }
            20 => self.configure_video(amount % 3),
            21 => self.configure_audio(amount % 3),
            22 => {
                self.wall_set_ms += (i64::from(amount) - 128) * 1_000;
                self.clock_was_set = true;
            }
            _ => self.turn_over(amount),
        }
    }

    /// Something is said of a moment; refused or not, what must hold holds.
    fn cue(&mut self, amount: u8) {
        let id = u32::from(amount / 4 % 4);
        let cue = match amount % 4 {
            0 => Cue::Id3(Bytes::from_static(b"ID3\x04\0\0\0\0\0\0")),
            1 => Cue::Splice(SpliceInfo::insert(id, true, amount.is_multiple_of(3).then_some(450_000))),
            2 => Cue::Splice(SpliceInfo::insert(id, false, None)),
            _ => {
                let Ok(id) = hls::QuotedString::new(format!("range {amount}")) else { return };
                let duration = amount.is_multiple_of(2).then_some(Duration::from_secs(5));
                Cue::Range(RangeCue { id, class: None, duration, attributes: Vec::new() })
            }
        };
        let ahead = Duration::from_millis(u64::from(amount / 16) * 300);
        let is_range = matches!(cue, Cue::Range(_));
        let inserted = self.packager.insert(cue, ahead);
        assert!(inserted.is_err() || is_range || self.timed_metadata, "a track that was not announced");
        self.look();
    }

    /// The publisher leaves, and comes back at once, later, or after the stream has ended.
    fn turn_over(&mut self, amount: u8) {
        let cause = if amount.is_multiple_of(2) { Cause::Clean } else { Cause::Lost };
        self.packager.end_session(cause, self.clock());
        self.look();
        self.pause(u64::from(amount) * 100);
        if amount.is_multiple_of(5) {
            self.packager.finish(self.clock());
            self.look();
            // What is published next is another programme; whoever watched has seen the end.
            self.nobody_watches();
        }
        if amount % 16 == 7 {
            self.restart();
        }
        if amount % 16 == 9 {
            self.crash();
        }
        self.packager.begin_session(self.clock());
        self.look();
        self.video_ms = u32::from(amount).wrapping_mul(1_000_003);
        self.audio_ms = self.video_ms;
        self.frames = 0;
        self.configure_video(amount % 7 / 6);
        self.configure_audio(0);
    }

    fn nobody_watches(&mut self) {
        self.playlists = playlists();
        self.mpds = dash::check::Checker::new();
    }

    /// Another process goes on with what this one kept, and readers that watched see no more than that the publisher is away.
    fn restart(&mut self) {
        self.held_by_a_reader = None;
        let (media_sequence, discontinuity_sequence) = self.packager.numbers();
        let numbering = Numbering { media_sequence, discontinuity_sequence, resumed: true };
        let Some(kept) = self.packager.keep() else {
            self.packager = Packager::new(&self.config, numbering);
            self.nobody_watches();
            return;
        };
        let read = Kept::read(&Bytes::from(file(&kept))).expect("it is as it was written");
        assert_eq!((&read.header, &read.bodies), (&kept.header, &kept.bodies));
        self.packager = Packager::restore(&self.config, numbering, read, self.clock()).expect("it fits");
        let again = self.packager.keep().expect("it can be kept again");
        assert_eq!((again.header.next, again.header.ts), (kept.header.next, kept.header.ts));
        self.look();
    }

    /// Another process goes on with no more than was noted: what was listed has gone.
    fn crash(&mut self) {
        self.held_by_a_reader = None;
        let (next, discontinuity_sequence) = self.packager.numbers();
        let noted = self.packager.noted_period();
        let numbering = Numbering { media_sequence: next + 1, discontinuity_sequence, resumed: true };
        self.packager = Packager::new(&self.config, numbering);
        if let Some(noted) = noted {
            assert!(self.packager.list_as_over(&noted), "{noted:?}");
        }
        self.nobody_watches();
        self.look();
    }

    /// So many steps of 80 ms: two pictures and what sound there is.
    fn play(&mut self, steps: u32, video: bool, audio: bool) {
        for _ in 0..steps {
            self.now_ms += 80;
            for _ in 0..2 {
                self.video_ms = self.video_ms.wrapping_add(40);
                if video {
                    // A keyframe each second; two B-frames of three pictures in between.
                    let sync = self.frames.is_multiple_of(25);
                    let cts = if self.frames.is_multiple_of(3) { 80 } else { 0 };
                    self.frames = self.frames.wrapping_add(1);
                    self.video(self.video_ms, cts, sync);
                }
            }
            // A frame each 20 ms is a little more than there can be at 48 kHz: now and then one is too many.
            for _ in 0..4 {
                if audio {
                    self.sample(TrackId::AUDIO, self.audio_ms, 0, true);
                }
                self.audio_ms = self.audio_ms.wrapping_add(20);
            }
        }
    }

    fn pause(&mut self, ms: u64) {
        self.now_ms += ms;
    }

    fn video(&mut self, ms: u32, cts: i32, sync: bool) {
        self.sample(TrackId::VIDEO, ms, cts, sync);
    }

    fn sample(&mut self, track: TrackId, ms: u32, cts_offset: i32, sync: bool) {
        let data = match track.kind {
            // One NAL unit: an IDR slice or another.
            TrackKind::Video => {
                Bytes::from_static(if sync { &[0, 0, 0, 2, 0x65, 0x88] } else { &[0, 0, 0, 2, 0x41, 0x9a] })
            }
            TrackKind::Audio => Bytes::from_static(&[0x21, 0x10, 0x04, 0x60, 0x8c, 0x1c]),
        };
        let dts = MediaTime::new(i64::from(ms), Timescale::MILLIS);
        self.push(Event::Sample(Sample { track, dts, cts_offset, sync, data }));
    }

    fn configure_video(&mut self, which: u8) {
        let config = VideoConfig {
            codec: VideoCodec::H264,
            // An encoder's own SPS and PPS; the level differs.
            record: Bytes::from(vec![
                1,
                0x42,
                0xc0,
                0x0c + which,
                0xff,
                0xe1,
                0,
                0x19,
                0x67,
                0x42,
                0xc0,
                0x0c + which,
                0xd9,
                0x01,
                0x41,
                0x9e,
                0xa2,
                0x30,
                0x11,
                0,
                0,
                3,
                0,
                1,
                0,
                0,
                3,
                0,
                0x32,
                0x0f,
                0x14,
                0x2a,
                0x48,
                1,
                0,
                4,
                0x68,
                0xcb,
                0x8c,
                0xb2,
            ]),
            codec_string: format!("avc1.42c0{:02x}", 0x0c + which),
            width: 640,
            height: 480,
            sample_aspect_ratio: (1, 1),
            frame_rate: None,
            colour: None,
            reorder_frames_max: None,
        };
        self.push(Event::Config(TrackId::VIDEO, Arc::new(TrackConfig::Video(config))));
    }

    fn configure_audio(&mut self, which: u8) {
        // 48 kHz stereo, 44.1 kHz stereo, 48 kHz mono.
        let (record, rate, channels): (&'static [u8], u32, u8) = match which {
            0 => (&[0x11, 0x90], 48_000, 2),
            1 => (&[0x12, 0x10], 44_100, 2),
            _ => (&[0x11, 0x88], 48_000, 1),
        };
        let config = AudioConfig {
            codec: AudioCodec::Aac,
            record: Bytes::from_static(record),
            codec_string: "mp4a.40.2".to_owned(),
            sample_rate: Timescale::new(rate).expect("it is not 0"),
            output_sample_rate: rate,
            channels,
            samples_per_frame: 1_024,
        };
        self.push(Event::Config(TrackId::AUDIO, Arc::new(TrackConfig::Audio(config))));
    }

    fn push(&mut self, event: Event) {
        let clock = self.clock();
        match self.packager.push(event, clock) {
            Ok(()) => self.look(),
            Err(Refusal::OverBudget { .. }) => self.turned_away(),
            Err(refusal) => panic!("AAC and H.264 can be packaged: {refusal}"),
        }
        let clock = self.clock();
        // As the server does: who is far ahead of the clock is not read from.
        let ahead = self.packager.ahead(clock.now).saturating_sub(AHEAD_MAX);
        self.now_ms += u64::try_from(ahead.as_millis()).expect("a script is short");
    }

    /// The publisher is told that it needs too much, and comes back.
    fn turned_away(&mut self) {
        self.packager.end_session(Cause::Server, self.clock());
        self.look();
        self.packager.begin_session(self.clock());
        self.look();
        self.configure_video(0);
        self.configure_audio(0);
    }

    /// What is held stays within the budget, and only a reader's doing is a reader's to undo.
    fn weigh(&mut self, newest: Option<&Arc<Snapshot>>) {
        let memory = self.packager.memory();
        let bytes_max = self.bytes_max;
        assert!(memory.own_bytes <= bytes_max + BUDGET_SLACK_BYTES, "{memory:?} of {bytes_max}");
        let Some(below) = self.packager.readers_due() else {
            assert!(memory.sum() <= bytes_max || memory.readers_bytes == 0, "{memory:?} of {bytes_max}");
            return;
        };
        assert!(memory.sum() > bytes_max, "{memory:?} of {bytes_max}, and readers below {below} are to go");
        let before = self.held_by_a_reader.take().expect("nobody else holds what has left");
        drop(before);
        let memory = self.packager.memory();
        assert_eq!((memory.readers_bytes, newest.is_some()), (0, true), "{memory:?}");
    }

    /// What a reader does with a new version, and what must hold whether there is one or not.
    fn look(&mut self) {
        self.packager.check_invariants();
        let clock = self.clock();
        let Some(snapshot) = self.packager.poll_snapshot(clock.wall) else { return };
        let at_ms = i64::try_from(self.now_ms).expect("a script is short");
        let texts = [
            snapshot.media_playlist(),
            snapshot.cmaf_media_playlist(TrackKind::Video),
            snapshot.cmaf_media_playlist(TrackKind::Audio),
        ];
        for (index, text) in texts.into_iter().enumerate() {
            let checker = &mut self.playlists[index];
            let Some(text) = text.and_then(|text| String::from_utf8(text).ok()) else { continue };
            for finding in checker.observe(&text, at_ms) {
                // Whoever leaves or pauses makes playlists stand still; dates follow a clock that is set back.
                // Pictures that come as they like make parts of any length; a longer one than the target was counted.
                let is_long = finding.message.contains("more than the part target");
                let uneven =
                    finding.rule == "hls 5.2" && (!is_long || self.packager.counters().parts_overlong > 0);
                let expected =
                    finding.rule == "hls 3.5" || uneven || (self.clock_was_set && finding.rule == "hls 3.12");
                assert!(finding.severity < hls::check::Severity::Error || expected, "{finding}\n{text}");
                // A list that loses segments keeps three target durations, whatever the stream may hold. A CMAF track that was
                // away lists what is left of it; what an eviction leaves to the others is asserted where it is done.
                let is_short = finding.message.starts_with("segments are removed while less");
                assert!(!is_short || index > 0, "{finding}\n{text}");
            }
        }
        if let Some(cmaf) = snapshot.cmaf.as_ref().filter(|cmaf| cmaf.window < Config::default().window) {
            let tracks = &snapshot.tracks;
            let video = cmaf.video.as_ref().filter(|_| tracks.video.is_some());
            let audio = cmaf.audio.as_ref().filter(|_| tracks.audio.is_some());
            for rendition in video.into_iter().chain(audio) {
                let listed: i64 = rendition.listed.iter().map(|segment| segment.duration.millis() + 1).sum();
                assert!(
                    cmaf.window.as_millis() <= u128::from(listed.unsigned_abs()),
                    "a promise beyond what is listed"
                );
            }
        }
        if self.now_ms.is_multiple_of(7) {
            self.held_by_a_reader = Some(Arc::clone(&snapshot));
        }
        self.weigh(Some(&snapshot));
        if self.is_made_up {
            // It keeps nobody from the media.
            let is_playable = snapshot.cmaf.as_ref().is_some_and(Cmaf::is_playable);
            assert_eq!(snapshot.mpd(None).is_some(), is_playable);
            let _ = snapshot.low_latency_mpd(None);
        } else if let Some(text) = snapshot.mpd(None).and_then(|text| String::from_utf8(text).ok()) {
            for finding in self.mpds.observe(&text, None) {
                assert!(finding.severity < dash::check::Severity::Error, "{finding:?}\n{text}");
            }
        }
    }
}
