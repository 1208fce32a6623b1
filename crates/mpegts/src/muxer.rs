//! The muxer: one long-lived object per stream, of which segments are cuts.

use headwater_media::{AudioConfig, MediaTime, Sample, Timescale, TrackKind, VideoConfig};

use crate::Error;
use crate::audio::{AudioTrack, Frame, Queue};
use crate::packet::{Adaptation, PACKET_SIZE, PES_PAYLOAD_MAX, PesHeader, Pid, Scatter};
use crate::psi::{Stream, Tables};
use crate::video::VideoTrack;

/// PIDs stay fixed for the life of a stream, whether the track is there or not. ffmpeg's, which players have seen most.
const PID_VIDEO: u16 = 0x100;
const PID_AUDIO: u16 = 0x101;

const PID_ID3: u16 = 0x102;
const PID_SPLICE: u16 = 0x103;

/// PES stream ids (H.222.0 table 2-22): video stream 0, audio stream 0, private stream 1.
const STREAM_ID_VIDEO: u8 = 0xe0;
const STREAM_ID_AUDIO: u8 = 0xc0;
const STREAM_ID_PRIVATE: u8 = 0xbd;

/// Metadata in PES packets (H.222.0 2.12.3), announced as ID3 by a metadata_descriptor and by the metadata_pointer_descriptor of
/// program 1, as Apple's "Timed Metadata for HTTP Live Streaming" has them.
const ID3: Stream = Stream {
    stream_type: 0x15,
    pid: PID_ID3,
    descriptors: b"\x26\x0d\xff\xffID3 \xffID3 \x00\x0f",
    program_descriptors: b"\x25\x0f\xff\xffID3 \xffID3 \x00\x1f\x00\x01",
};

/// Sections of splice information, announced by a registration descriptor "CUEI" of the program (SCTE 35 8.1).
const SPLICE: Stream =
    Stream { stream_type: 0x86, pid: PID_SPLICE, descriptors: &[], program_descriptors: b"\x05\x04CUEI" };

/// How far the clock is behind the DTS of the packet that carries it, in 90 kHz ticks: 0.7 s, as ffmpeg's muxer has it.
/// Audio that trails video by less than this is never late against the clock.
pub const PCR_DELAY: i64 = 63_000;

/// The clock is written at least this often (H.222.0 2.7.2), in 90 kHz ticks: 100 ms.
const PCR_INTERVAL_MAX: i64 = 9_000;

/// A hole longer than this gets no clock packets, in 90 kHz ticks: 10 s, the longest segment there is. Beyond it, it is
/// a jump that nobody announced, and filling it would write without bound.
const PCR_HOLE_MAX: i64 = 900_000;

/// Tables are repeated once this much time has passed, in 90 kHz ticks: 400 ms, at most 500 (TR 101 290) together with
/// [`PCR_INTERVAL_MAX`], which is how often the question is asked.
const TABLES_INTERVAL: i64 = 36_000;

/// Audio waits for company in its PES packet until video is this far ahead, in 90 kHz ticks: 200 ms. A pause of the
/// audio must not leave frames waiting until the clock has overtaken them.
const AUDIO_WAIT_MAX: i64 = 18_000;

/// The tracks of a stream: at most one of each kind, because HLS wants no more in one segment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Program<'a> {
    /// H.264.
    pub video: Option<&'a VideoConfig>,
    /// AAC or MP3. List it only when it really sends: hls.js and Safari wait for every track that is announced.
    pub audio: Option<&'a AudioConfig>,
    /// Tracks of ID3 tags and of splice information. Players are to know of them before the first tag comes.
    pub timed_metadata: bool,
}

/// Writes access units and audio frames as transport packets, appending to buffers that the caller owns.
///
/// Continuity counters, table versions and the clock run on over segments; a segment is what was appended between
/// [`Muxer::begin_segment`] and [`Muxer::end_segment`], and always a whole number of 188-byte packets.
///
/// The caller keeps DTS rising within a track, PTS at or after DTS, and the tracks interleaved to within
/// [`PCR_DELAY`]; the muxer writes what it is given and has no opinion on time, with one exception: a PTS before its DTS,
/// which no player accepts, pulls the written DTS down to it.
#[derive(Debug, Clone)]
pub struct Muxer {
    tracks: Tracks,
    tables: Tables,
    video_pid: Pid,
    audio_pid: Pid,
    id3_pid: Pid,
    splice_pid: Pid,
    clock: Clock,
    queue: Queue,
    /// Audio-only: the segment's first PES packet, where players may start, is still to come.
    segment_opening: bool,
}

/// What the configurations contribute.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Tracks {
    video: Option<VideoTrack>,
    audio: Option<AudioTrack>,
    timed_metadata: bool,
}

/// When clock and tables were last written, in 90 kHz ticks of DTS.
#[derive(Debug, Clone, Default)]
struct Clock {
    /// None at the start and after a break: nothing to fill a hole from.
    written: Option<i64>,
    /// None when they were written and no sample has said when that was.
    tables_written: Option<i64>,
    /// The next PCR does not continue the last one.
    discontinuity: bool,
}

impl Tracks {
    fn new(program: Program<'_>) -> Result<Tracks, Error> {
        let tracks = Tracks {
            video: program.video.map(VideoTrack::new).transpose()?,
            audio: program.audio.map(AudioTrack::new).transpose()?,
            timed_metadata: program.timed_metadata,
        };
        if tracks.video.is_none() && tracks.audio.is_none() { Err(Error::NoTrack) } else { Ok(tracks) }
    }

    /// What the program map lists, the stream with the clock first.
    fn streams(&self) -> Vec<Stream> {
        let video = self.video.iter().map(|video| Stream::plain(video.stream_type, PID_VIDEO));
        let audio = self.audio.iter().map(|audio| Stream::plain(audio.stream_type, PID_AUDIO));
        let metadata = [ID3, SPLICE].into_iter().filter(|_| self.timed_metadata);
        video.chain(audio).chain(metadata).collect()
    }
}

impl Muxer {
    /// A muxer for a new stream.
    ///
    /// # Errors
    /// [`Error::NoTrack`]; [`Error::VideoRecord`] and [`Error::AudioRecord`] for records that cannot be read;
    /// [`Error::AudioUnrepresentable`] for audio that ADTS cannot describe.
    pub fn new(program: Program<'_>) -> Result<Muxer, Error> {
        let tracks = Tracks::new(program)?;
        Ok(Muxer {
            tables: Tables::new(&tracks.streams()),
            tracks,
            video_pid: Pid::new(PID_VIDEO),
            audio_pid: Pid::new(PID_AUDIO),
            id3_pid: Pid::new(PID_ID3),
            splice_pid: Pid::new(PID_SPLICE),
            clock: Clock::default(),
            queue: Queue::default(),
            segment_opening: true,
        })
    }

    /// Another configuration, between two segments.
    ///
    /// The version of the program map moves on if tracks or stream types differ; continuity counters run on; the next PCR
    /// carries the discontinuity indicator, so the playlist has to say EXT-X-DISCONTINUITY. Audio that waits is discarded
    /// when its track changes: end the segment without a cut first. An equal configuration changes nothing at all.
    ///
    /// # Errors
    /// As [`Muxer::new`]; the muxer then goes on with the old configuration.
    pub fn reconfigure(&mut self, program: Program<'_>) -> Result<(), Error> {
        let tracks = Tracks::new(program)?;
        if tracks == self.tracks {
            return Ok(());
        }
        if tracks.audio != self.tracks.audio {
            self.queue.clear();
        }
        let streams = tracks.streams();
        if streams != self.tracks.streams() {
            self.tables.replace(&streams);
        }
        self.tracks = tracks;
        self.mark_discontinuity();
        Ok(())
    }

    /// Continuity counters go on behind those of a segment that an earlier muxer of the stream wrote. What comes next is a discontinuity all the
    /// same: the program map may be of another version.
    pub fn go_on_behind(&mut self, segment: &[u8]) {
        for packet in segment.chunks_exact(PACKET_SIZE) {
            self.tables.go_on_behind(packet);
            for pid in [&mut self.video_pid, &mut self.audio_pid, &mut self.id3_pid, &mut self.splice_pid] {
                pid.go_on_behind(packet);
            }
        }
    }

    /// The times that follow do not continue the ones before: the next PCR carries the discontinuity indicator
    /// (H.222.0 2.4.3.5), and the hole is not filled with clock packets.
    pub fn mark_discontinuity(&mut self) {
        self.clock = Clock { discontinuity: true, ..Clock::default() };
    }

    /// Begins a segment: PAT and PMT, two packets.
    pub fn begin_segment(&mut self, out: &mut Vec<u8>) {
        self.tables.write(out);
        self.clock.tables_written = None;
        self.segment_opening = true;
    }

    /// Writes one access unit as one PES packet: delimiter, parameter sets if `sample.sync`, then its NAL units.
    ///
    /// `sample.data` is NAL units behind 4-byte lengths, its time in any scale (90 kHz for no rounding).
    ///
    /// # Errors
    /// [`Error::TrackMissing`], [`Error::NalLength`], [`Error::NalUnitsTooMany`], [`Error::AccessUnitEmpty`],
    /// [`Error::AccessUnitTooLong`]; nothing was written then.
    pub fn write_video(&mut self, out: &mut Vec<u8>, sample: &Sample) -> Result<(), Error> {
        let track = self.tracks.video.as_ref().ok_or(Error::TrackMissing(TrackKind::Video))?;
        let unit = track.access_unit(&sample.data, sample.sync)?;
        let dts = sample.dts.rescale(Timescale::MPEG).ticks();
        let pts = sample.pts().rescale(Timescale::MPEG).ticks();

        if self.queue.first_pts().is_some_and(|first| dts.saturating_sub(first) >= AUDIO_WAIT_MAX) {
            // Not the clock's PID: in a program with video audio never carries it.
            write_audio_pes(out, &mut self.audio_pid, &mut self.queue, None, &Adaptation::default());
        }
        self.clock.advance(out, &mut self.video_pid, &mut self.tables, dts);
        let adaptation = self.clock.adaptation(dts, sample.sync);
        let header = PesHeader::new(STREAM_ID_VIDEO, unit.size, pts, dts.min(pts));
        let size = header.bytes().len() + unit.size;
        let mut scatter = Scatter::start(out, &mut self.video_pid, size, &adaptation);
        scatter.write(header.bytes());
        unit.for_each_piece(|piece| scatter.write(piece));
        Ok(())
    }

    /// Takes one audio frame, and writes a PES packet when enough of them wait.
    ///
    /// `sample.data` is a raw AAC frame (an ADTS header is put before it) or MP3 frames with their headers.
    ///
    /// # Errors
    /// [`Error::TrackMissing`], [`Error::FrameEmpty`], [`Error::FrameTooLong`]; the frame was not taken then.
    pub fn write_audio(&mut self, out: &mut Vec<u8>, sample: &Sample) -> Result<(), Error> {
        let track = self.tracks.audio.as_ref().ok_or(Error::TrackMissing(TrackKind::Audio))?;
        let pts = sample.pts().rescale(Timescale::MPEG).ticks();
        let frame = track.frame(pts, sample.data.clone())?;
        if self.queue.must_close_before(track, &frame) {
            self.flush_audio(out);
        }
        self.queue.push(frame);
        if self.tracks.audio.as_ref().is_some_and(|track| self.queue.is_due(track)) {
            self.flush_audio(out);
        }
        Ok(())
    }

    /// Writes an ID3 tag that belongs to the media time `at`, as one PES packet.
    ///
    /// # Errors
    /// [`Error::MetadataMissing`] when the program has no such track, [`Error::MetadataTooLong`]; nothing was written then.
    pub fn write_id3(&mut self, out: &mut Vec<u8>, at: MediaTime, tag: &[u8]) -> Result<(), Error> {
        if !self.tracks.timed_metadata {
            return Err(Error::MetadataMissing);
        }
        if tag.len() > PES_PAYLOAD_MAX {
            return Err(Error::MetadataTooLong(tag.len()));
        }
        let pts = at.rescale(Timescale::MPEG).ticks();
        let header = PesHeader::new(STREAM_ID_PRIVATE, tag.len(), pts, pts).aligned();
        let size = header.bytes().len() + tag.len();
        let mut scatter = Scatter::start(out, &mut self.id3_pid, size, &Adaptation::default());
        scatter.write(header.bytes());
        scatter.write(tag);
        Ok(())
    }

    /// Writes a splice_info_section (SCTE 35), CRC and all, in packets of its own.
    ///
    /// # Errors
    /// [`Error::MetadataMissing`] when the program has no such track, [`Error::MetadataTooLong`] above 4,096 bytes; nothing was written
    /// then.
    pub fn write_splice_info(&mut self, out: &mut Vec<u8>, section: &[u8]) -> Result<(), Error> {
        if !self.tracks.timed_metadata {
            return Err(Error::MetadataMissing);
        }
        if section.len() > headwater_codec::scte35::SECTION_SIZE_MAX {
            return Err(Error::MetadataTooLong(section.len()));
        }
        self.splice_pid.write_long_section(out, section);
        Ok(())
    }

    /// Ends a segment: writes the waiting audio whose PTS is before `cut`, all of it without a cut. Later frames wait for
    /// the next segment.
    pub fn end_segment(&mut self, out: &mut Vec<u8>, cut: Option<MediaTime>) {
        self.write_queue(out, cut.map(|cut| cut.rescale(Timescale::MPEG).ticks()));
    }

    /// Writes all waiting audio now: for continuous streams that want less delay than a full PES packet.
    pub fn flush_audio(&mut self, out: &mut Vec<u8>) {
        self.write_queue(out, None);
    }

    fn write_queue(&mut self, out: &mut Vec<u8>, cut: Option<i64>) {
        let Some(pts) = self.queue.before(cut).first().map(|frame| frame.pts) else { return };
        let adaptation = if self.tracks.video.is_none() {
            self.clock.advance(out, &mut self.audio_pid, &mut self.tables, pts);
            self.clock.adaptation(pts, std::mem::take(&mut self.segment_opening))
        } else {
            Adaptation::default()
        };
        write_audio_pes(out, &mut self.audio_pid, &mut self.queue, cut, &adaptation);
    }
}

/// The waiting frames before `cut` as one PES packet.
fn write_audio_pes(
    out: &mut Vec<u8>,
    pid: &mut Pid,
    queue: &mut Queue,
    cut: Option<i64>,
    adaptation: &Adaptation,
) {
    let frames = queue.before(cut);
    let Some(first) = frames.first() else { return };
    let payload = frames.iter().map(Frame::size).sum::<usize>();
    let header = PesHeader::new(STREAM_ID_AUDIO, payload, first.pts, first.pts);
    let mut scatter = Scatter::start(out, pid, header.bytes().len() + payload, adaptation);
    scatter.write(header.bytes());
    for frame in frames {
        scatter.write(frame.header());
        scatter.write(frame.data());
    }
    let count = frames.len();
    queue.discard(count);
}

impl Clock {
    /// Before a sample at `now`: packets that carry nothing but the clock where the last one is too long ago (screen
    /// sharing at 5 fps), and tables where they are due.
    fn advance(&mut self, out: &mut Vec<u8>, pid: &mut Pid, tables: &mut Tables, now: i64) {
        if let Some(mut at) = self.written
            && now.saturating_sub(at) <= PCR_HOLE_MAX
        {
            while now.saturating_sub(at) > PCR_INTERVAL_MAX {
                at = at.saturating_add(PCR_INTERVAL_MAX);
                self.repeat_tables(out, tables, at);
                pid.write_clock(out, &Adaptation { pcr: Some(clock_at(at)), ..Adaptation::default() });
            }
        }
        self.repeat_tables(out, tables, now);
    }

    fn repeat_tables(&mut self, out: &mut Vec<u8>, tables: &mut Tables, now: i64) {
        match self.tables_written {
            Some(at) if (0..TABLES_INTERVAL).contains(&now.saturating_sub(at)) => {}
            Some(_) => {
                tables.write(out);
                self.tables_written = Some(now);
            }
            None => self.tables_written = Some(now),
        }
    }

    /// The adaptation field of a sample's first packet; every sample of the clock's track carries the clock.
    fn adaptation(&mut self, now: i64, random_access: bool) -> Adaptation {
        self.written = Some(now);
        Adaptation {
            discontinuity: std::mem::take(&mut self.discontinuity),
            random_access,
            pcr: Some(clock_at(now)),
        }
    }
}

/// The clock when the sample to decode at `dts` arrives.
fn clock_at(dts: i64) -> i64 {
    dts.saturating_sub(PCR_DELAY)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use headwater_media::AudioCodec;

    use super::*;

    fn muxer(timed_metadata: bool) -> Muxer {
        let rate = Timescale::new(48_000).unwrap();
        let audio = AudioConfig {
            codec: AudioCodec::Aac,
            record: Bytes::from_static(&[0x11, 0x90]),
            codec_string: "mp4a.40.2".into(),
            sample_rate: rate,
            output_sample_rate: 48_000,
            channels: 2,
            samples_per_frame: 1_024,
        };
        Muxer::new(Program { audio: Some(&audio), timed_metadata, ..Program::default() }).unwrap()
    }

    #[test]
    fn metadata_is_announced() {
        let mut out = Vec::new();
        muxer(true).begin_segment(&mut out);
        let map = &out[188 + 5..];
        // mpegts-hls.md 4.4, and SCTE 35 8.1: of the program, then of its streams.
        let program = b"\xe1\x01\xf0\x17\x25\x0f\xff\xffID3 \xffID3 \x00\x1f\x00\x01\x05\x04CUEI";
        assert_eq!(&map[8..8 + program.len()], program);
        let streams = b"\x0f\xe1\x01\xf0\x00\x15\xe1\x02\xf0\x0f\x26\x0d\xff\xffID3 \xffID3 \x00\x0f\x86\xe1\x03\xf0\x00";
        assert_eq!(&map[8 + program.len()..8 + program.len() + streams.len()], streams);
        let length = 3 + (usize::from(map[1] & 0x0f) << 8 | usize::from(map[2]));
        assert_eq!(headwater_codec::crc32::mpeg2(&map[..length]), 0);
        assert!(length <= 183);
    }

    #[test]
    fn a_tag_is_one_pes_packet() {
        let mut out = Vec::new();
        muxer(true).write_id3(&mut out, MediaTime::new(1_000, Timescale::MILLIS), b"ID3 tag").unwrap();
        assert_eq!(out.len(), 188);
        assert_eq!(&out[..4], [0x47, 0x41, 0x02, 0x30]);
        // data_alignment_indicator, PTS alone, and 90,000 in it.
        let pes = b"\0\0\x01\xbd\0\x0f\x84\x80\x05\x21\0\x05\xbf\x21ID3 tag";
        assert_eq!(&out[188 - pes.len()..], pes);
    }

    #[test]
    fn sections_of_every_length() {
        for size in [20_usize, 183, 184, 366, 367, 368, 4_096] {
            let section: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
            let mut out = Vec::new();
            let mut muxer = muxer(true);
            muxer.write_splice_info(&mut out, &section).unwrap();
            let packets: Vec<&[u8]> = out.chunks(188).collect();
            assert_eq!(packets.len(), (size + 1).div_ceil(184), "{size}");
            let mut read = Vec::new();
            for (n, packet) in packets.iter().enumerate() {
                let start = if n == 0 { 0x41 } else { 0x01 };
                assert_eq!(packet[..4], [0x47, start, 0x03, 0x10 | (n as u8 & 15)], "{size}");
                read.extend_from_slice(&packet[4..]);
            }
            assert_eq!((read[0], &read[1..=size]), (0, section.as_slice()));
            assert!(read[size + 1..].iter().all(|byte| *byte == 0xff));
        }
    }

    #[test]
    fn nothing_is_written_that_was_not_announced() {
        let mut out = Vec::new();
        let at = MediaTime::new(0, Timescale::MPEG);
        assert_eq!(muxer(false).write_id3(&mut out, at, b"ID3"), Err(Error::MetadataMissing));
        assert_eq!(muxer(false).write_splice_info(&mut out, b"\xfc"), Err(Error::MetadataMissing));
        assert_eq!(muxer(true).write_id3(&mut out, at, &[0; 70_000]), Err(Error::MetadataTooLong(70_000)));
        assert_eq!(muxer(true).write_splice_info(&mut out, &[0; 4_097]), Err(Error::MetadataTooLong(4_097)));
        assert!(out.is_empty());
    }
}
