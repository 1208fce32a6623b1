//! MPEG-TS segments taken apart by `mpeg2ts` and held against the rules of a stream that is cut, not restarted.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::io::{self, Cursor, Read};
use std::rc::Rc;

use headwater_manifest::hls::check::excerpt;
use mpeg2ts::es::StreamType;
use mpeg2ts::ts::payload::{Pes, Pmt};
use mpeg2ts::ts::{AdaptationField, ReadTsPacket, TsPacket, TsPacketReader, TsPayload};

use super::es::{Adts, FirstUnit, VideoCodec};
use super::follow::second_reader;
use super::report::Log;

/// Bytes of a segment's first access unit that are searched for NAL units: larger than any coded picture of 8K at the
/// rates that are streamed.
const FIRST_UNIT_BYTES_MAX: usize = 4 << 20;
/// Bytes of one audio PES packet; its length field can't say more.
const AUDIO_PES_BYTES_MAX: usize = 65_536;
/// 90 kHz.
const HZ: i64 = 90_000;
/// PCR at least so often: 100 ms (H.222.0 2.7.2), and 1 ms for rounding.
const PCR_INTERVAL_MAX: i64 = 9_090;
/// Between access units of one stream at most 0.7 s (H.222.0 2.7.4).
const UNIT_INTERVAL_MAX: i64 = 63_000;
/// Audio may lead or lag video at a segment's start by one PES packet of 200 ms.
const START_OFFSET_MAX: i64 = 18_000;
/// Past half a second, a wrong duration or a hole is not a matter of taste.
const SEVERE: i64 = HZ / 2;
/// Audio stamps may be off by half a millisecond before players log overlaps.
const AUDIO_JITTER_MAX: i64 = 45;

/// What the playlist says about a segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct SegmentInfo {
    pub(super) sequence: u64,
    pub(super) duration_us: u64,
    pub(super) discontinuity: bool,
    /// EXT-X-INDEPENDENT-SEGMENTS.
    pub(super) independent: bool,
}

/// Examines the segments of one rendition in order; holds what must run on over their borders.
#[derive(Debug, Default)]
pub(super) struct TsExaminer {
    continuity: HashMap<u16, u8>,
    audio_ends: HashMap<u16, u64>,
    last_pcr: Option<u64>,
    previous: Option<Previous>,
}

/// The segment before.
#[derive(Debug)]
struct Previous {
    sequence: u64,
    duration_us: u64,
    tracks: BTreeMap<u16, Codec>,
    main: Option<Timing>,
}

/// The times of the stream that a segment is cut by: video, or audio without it.
#[derive(Debug, Clone, Copy)]
struct Timing {
    pid: u16,
    first_pts: u64,
    first_dts: u64,
    /// Where the next unit is expected: the last DTS and one interval.
    end_dts: u64,
    /// The mean interval between units.
    frame: i64,
    /// The longest.
    longest: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Codec {
    Video(VideoCodec),
    Adts,
    OtherAudio,
    Other,
}

impl Codec {
    fn of(stream_type: StreamType) -> Codec {
        match stream_type {
            StreamType::H264 => Codec::Video(VideoCodec::H264),
            StreamType::H265 => Codec::Video(VideoCodec::H265),
            StreamType::AdtsAac => Codec::Adts,
            StreamType::Mpeg1Audio
            | StreamType::Mpeg2HalvedSampleRateAudio
            | StreamType::DolbyDigitalUpToSixChannelAudio
            | StreamType::DolbyDigitalPlusUpTo16ChannelAudioForAtsc => Codec::OtherAudio,
            _ => Codec::Other,
        }
    }

    fn is_video(self) -> bool {
        matches!(self, Codec::Video(_))
    }

    fn is_audio(self) -> bool {
        matches!(self, Codec::Adts | Codec::OtherAudio)
    }
}

/// `later - earlier` of 33-bit times, by the nearest way around: at most 2^32 either way, so that sums of a few fit.
fn difference(later: u64, earlier: u64) -> i64 {
    const TURN: i64 = 1 << 33;
    let ticks = (later as i64).wrapping_sub(earlier as i64).rem_euclid(TURN);
    if ticks >= TURN / 2 { ticks - TURN } else { ticks }
}

/// `time + ticks`, modulo 2^33.
fn advanced(time: u64, ticks: i64) -> u64 {
    (time as i64).wrapping_add(ticks).rem_euclid(1 << 33) as u64
}

/// Ticks as milliseconds, for a message.
fn ms(ticks: i64) -> f64 {
    ticks as f64 / 90.0
}

/// One packet's bytes, handed to the reader as its whole stream, so that a bad packet costs no other.
#[derive(Clone)]
struct Feed(Rc<RefCell<Cursor<[u8; TsPacket::SIZE]>>>);

impl Read for Feed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.borrow_mut().read(buffer)
    }
}

/// A stream within the segment that is being read.
#[derive(Debug)]
struct Stream {
    codec: Codec,
    /// PTS and DTS.
    units: Vec<(u64, u64)>,
    without_pts: u64,
    first_unit: Vec<u8>,
    random_access: bool,
    audio: Option<AudioPes>,
}

#[derive(Debug)]
struct AudioPes {
    pts: u64,
    data: Vec<u8>,
}

/// What one segment's packets amount to.
#[derive(Debug, Default)]
struct Scan {
    streams: BTreeMap<u16, Stream>,
    pcr_pid: Option<u16>,
    pmt_seen: bool,
    pcrs: u64,
    before_pmt: u64,
    lost_sync: u64,
    nulls: u64,
    strays: u64,
    scrambled: u64,
    transport_errors: u64,
    unreadable: Tally,
    border_jumps: Tally,
    jumps: Tally,
    pcr_gaps: Tally,
    late_pcrs: Tally,
    audio_gaps: Tally,
    audio_jitter: Tally,
    audio_broken: Tally,
}

/// How often, and what the first looked like.
#[derive(Debug, Default)]
struct Tally {
    count: u64,
    first: String,
}

impl Tally {
    fn note(&mut self, first: impl FnOnce() -> String) {
        if self.count == 0 {
            self.first = first();
        }
        self.count += 1;
    }

    /// `first`, and how many more.
    fn text(&self) -> Option<String> {
        match self.count {
            0 => None,
            1 => Some(self.first.clone()),
            count => Some(format!("{} (and {} more)", self.first, count - 1)),
        }
    }
}

impl TsExaminer {
    /// Examines the next segment that was fetched.
    pub(super) fn segment(&mut self, info: &SegmentInfo, bytes: &[u8], log: &mut Log) {
        let follows = |previous: &Previous| previous.sequence.checked_add(1) == Some(info.sequence);
        let contiguous = !info.discontinuity && self.previous.as_ref().is_some_and(follows);
        if !contiguous {
            self.finish(log);
            self.continuity.clear();
            self.audio_ends.clear();
            self.last_pcr = None;
        }
        let sequence = info.sequence;
        if !bytes.len().is_multiple_of(TsPacket::SIZE) {
            log.error("ts 1.2", format!("segment {sequence} has {} bytes, no multiple of 188", bytes.len()));
        }
        let mut scan = self.scan(bytes);
        for (pid, stream) in &mut scan.streams {
            let end = self.audio_ends.get(pid).copied();
            if let Some(end) =
                stream.close_audio(end, &mut scan.audio_gaps, &mut scan.audio_jitter, &mut scan.audio_broken)
            {
                self.audio_ends.insert(*pid, end);
            }
        }
        scan.report(sequence, log);
        scan.check_start(info, log);
        let tracks = scan.streams.iter().map(|(pid, stream)| (*pid, stream.codec)).collect();
        let main = scan.main();
        self.check_border(contiguous, sequence, &tracks, main, log);
        for stream in scan.streams.values() {
            stream.check_times(sequence, log);
        }
        self.previous = Some(Previous { sequence, duration_us: info.duration_us, tracks, main });
    }

    /// No segment follows the last one: judges its duration by its own units.
    pub(super) fn finish(&mut self, log: &mut Log) {
        if let Some(previous) = self.previous.take()
            && let Some(main) = previous.main
        {
            previous.check_duration(main, difference(main.end_dts, main.first_dts), log);
        }
    }

    /// The segment's first units against the previous segment's last.
    fn check_border(
        &mut self,
        contiguous: bool,
        sequence: u64,
        tracks: &BTreeMap<u16, Codec>,
        main: Option<Timing>,
        log: &mut Log,
    ) {
        if !contiguous {
            return;
        }
        let Some(previous) = self.previous.take() else { return };
        if previous.tracks != *tracks && !tracks.is_empty() && !previous.tracks.is_empty() {
            // 8216bis 4.4.4.3
            log.error(
                "hls 3.9",
                format!(
                    "segment {sequence} has other tracks than the one before and no #EXT-X-DISCONTINUITY"
                ),
            );
        }
        let (Some(before), Some(now)) = (previous.main, main) else { return };
        if before.pid != now.pid {
            return;
        }
        let hole = difference(now.first_dts, before.end_dts);
        let measured = if hole.abs() > before.longest.max(before.frame) * 3 / 2 {
            let kind = if hole > 0 { "a hole" } else { "an overlap" };
            let message = format!(
                "{kind} of {:.0} ms in front of segment {sequence} and no #EXT-X-DISCONTINUITY",
                ms(hole.abs())
            );
            if hole.abs() > SEVERE {
                log.error("ts 1.4", message);
            } else {
                log.warning("ts 1.4", message);
            }
            difference(before.end_dts, before.first_dts)
        } else {
            difference(now.first_pts, before.first_pts)
        };
        previous.check_duration(before, measured, log);
    }

    fn scan(&mut self, bytes: &[u8]) -> Scan {
        let mut scan = Scan::default();
        let feed = Feed(Rc::new(RefCell::new(Cursor::new([0; TsPacket::SIZE]))));
        let mut reader = TsPacketReader::new(feed.clone());
        let mut seen = HashMap::new();
        for (index, packet) in bytes.chunks(TsPacket::SIZE).enumerate() {
            let Ok(packet) = <[u8; TsPacket::SIZE]>::try_from(packet) else { break };
            let [sync, high, low, flags, ..] = packet;
            if sync != TsPacket::SYNC_BYTE {
                scan.lost_sync += 1;
                continue;
            }
            let pid = u16::from_be_bytes([high & 0x1f, low]);
            if pid == 0x1fff {
                scan.nulls += 1;
                continue;
            }
            *feed.0.borrow_mut() = Cursor::new(packet);
            if hostile_pmt(&packet) {
                scan.unreadable.note(|| format!("packet {index}: a PMT longer than its section"));
                continue;
            }
            let read = second_reader(|| reader.read_ts_packet());
            let field = match &read {
                Some(Ok(Some(packet))) => packet.adaptation_field.as_ref(),
                _ => None,
            };
            if flags & 0x10 != 0 {
                let first = seen.insert(pid, ()).is_none();
                self.count(pid, flags & 0x0f, field, first, index, &mut scan);
            }
            match read {
                Some(Ok(Some(packet))) => self.packet(packet, &mut scan),
                Some(Ok(None)) => {}
                Some(Err(error)) if error.reason.starts_with("Unknown PID") => {
                    if scan.pmt_seen {
                        scan.strays += 1;
                    } else {
                        scan.before_pmt += 1;
                    }
                }
                Some(Err(error)) => {
                    scan.unreadable.note(|| format!("packet {index}: {}", excerpt(&error.reason)));
                }
                None => scan.unreadable.note(|| format!("packet {index}: mpeg2ts gave up")),
            }
        }
        scan
    }

    /// The continuity counter of a packet with payload (H.222.0 2.4.3.3).
    fn count(
        &mut self,
        pid: u16,
        counter: u8,
        field: Option<&AdaptationField>,
        first_in_segment: bool,
        index: usize,
        scan: &mut Scan,
    ) {
        let before = self.continuity.insert(pid, counter);
        let Some(before) = before else { return };
        if counter == (before + 1) & 0x0f || field.is_some_and(|field| field.discontinuity_indicator) {
            return;
        }
        let text = || format!("PID {pid:#06x} counts from {before} to {counter} at packet {index}");
        if first_in_segment {
            scan.border_jumps.note(text);
        } else {
            scan.jumps.note(text);
        }
    }

    fn packet(&mut self, packet: TsPacket, scan: &mut Scan) {
        let pid = packet.header.pid.as_u16();
        scan.transport_errors += u64::from(packet.header.transport_error_indicator);
        if packet.header.transport_scrambling_control != mpeg2ts::ts::TransportScramblingControl::NotScrambled
        {
            scan.scrambled += 1;
            return;
        }
        let field = packet.adaptation_field.as_ref();
        let pcr = field
            .and_then(|field| field.pcr)
            .filter(|_| scan.pcr_pid == Some(pid))
            .map(|pcr| (pcr.as_u64() / 300) & ((1 << 33) - 1));
        if let Some(pcr) = pcr {
            scan.pcrs += 1;
            if let Some(last) = self.last_pcr.replace(pcr) {
                let interval = difference(pcr, last);
                if !(0..=PCR_INTERVAL_MAX).contains(&interval) {
                    scan.pcr_gaps.note(|| format!("{:.0} ms between two PCRs", ms(interval)));
                }
            }
        }
        match packet.payload {
            Some(TsPayload::Pmt(pmt)) => scan.pmt(&pmt),
            Some(TsPayload::PesStart(pes)) => {
                let random_access = field.is_some_and(|field| field.random_access_indicator);
                self.pes(pid, &pes, random_access, pcr, scan);
            }
            Some(TsPayload::PesContinuation(bytes)) => {
                if let Some(stream) = scan.streams.get_mut(&pid) {
                    stream.more(&bytes);
                }
            }
            _ => {}
        }
    }

    fn pes(&mut self, pid: u16, pes: &Pes, random_access: bool, pcr: Option<u64>, scan: &mut Scan) {
        let Some(stream) = scan.streams.get_mut(&pid) else { return };
        let end = self.audio_ends.get(&pid).copied();
        if let Some(end) =
            stream.close_audio(end, &mut scan.audio_gaps, &mut scan.audio_jitter, &mut scan.audio_broken)
        {
            self.audio_ends.insert(pid, end);
        }
        let Some(pts) = pes.header.pts.map(|pts| pts.as_u64()) else {
            stream.without_pts += 1;
            return;
        };
        let dts = pes.header.dts.map_or(pts, |dts| dts.as_u64());
        if let Some(pcr) = pcr.filter(|pcr| difference(dts, *pcr) < 0) {
            scan.late_pcrs
                .note(|| format!("a PCR is {:.0} ms ahead of its unit's DTS", ms(difference(pcr, dts))));
        }
        if stream.units.is_empty() {
            stream.random_access = random_access;
        }
        stream.units.push((pts, dts));
        if stream.codec == Codec::Adts {
            stream.audio = Some(AudioPes { pts, data: Vec::new() });
        }
        stream.more(&pes.data);
    }
}

/// A PMT whose program_info_length runs past its section: mpeg2ts 0.6 panics at it.
fn hostile_pmt(packet: &[u8; TsPacket::SIZE]) -> bool {
    // Only the form that reaches that code: a section that starts right behind the header and the pointer field.
    let starts = packet.get(1).is_some_and(|high| high & 0x40 != 0);
    let adaptation = packet.get(3).is_some_and(|flags| flags & 0x20 != 0);
    let length = packet.get(4).filter(|_| adaptation).map_or(0, |length| usize::from(*length) + 1);
    let Some([pointer, table, high, low, rest @ ..]) = packet.get(4 + length..) else { return false };
    if !starts || *pointer != 0 || *table != 2 {
        return false;
    }
    let section = usize::from(u16::from_be_bytes([high & 0x03, *low]));
    // Behind the length: 5 bytes of table syntax, PCR_PID, program_info_length; in front of the 4 of the CRC.
    let Some([high, low]) = rest.get(7..9) else { return true };
    let info = usize::from(u16::from_be_bytes([high & 0x03, *low]));
    section < 13 + info
}

impl Previous {
    /// EXTINF against what the media lasts, to one frame (A 8.1).
    fn check_duration(&self, main: Timing, measured: i64, log: &mut Log) {
        // Below 2^61, so that the difference has an absolute value.
        let stated = i64::try_from(self.duration_us / 100).unwrap_or(i64::MAX).saturating_mul(9);
        let off = measured.saturating_sub(stated);
        if off.abs() <= main.frame + HZ / 1_000 {
            return;
        }
        let message = format!(
            "segment {} lasts {:.3} s and #EXTINF says {:.3}",
            self.sequence,
            ms(measured) / 1_000.0,
            ms(stated) / 1_000.0
        );
        if off.abs() > SEVERE {
            log.error("hls 3.2", message);
        } else {
            log.warning("hls 3.2", message);
        }
    }
}

impl Stream {
    fn more(&mut self, bytes: &[u8]) {
        if self.codec.is_video() && self.units.len() == 1 && self.first_unit.len() < FIRST_UNIT_BYTES_MAX {
            self.first_unit.extend_from_slice(bytes);
        }
        if let Some(audio) = self.audio.as_mut().filter(|audio| audio.data.len() < AUDIO_PES_BYTES_MAX) {
            audio.data.extend_from_slice(bytes);
        }
    }

    /// A complete audio PES packet: its frames' time against `expected`, where the one before ended. Returns its end.
    fn close_audio(
        &mut self,
        expected: Option<u64>,
        gaps: &mut Tally,
        jitter: &mut Tally,
        broken: &mut Tally,
    ) -> Option<u64> {
        let AudioPes { pts, data } = self.audio.take()?;
        let Some(adts) = Adts::read(&data) else {
            broken.note(|| "an audio PES packet is not made of whole ADTS frames".to_owned());
            return None;
        };
        if let Some(expected) = expected {
            let off = difference(pts, expected);
            if off.abs() > adts.frame_ticks() {
                let kind = if off > 0 { "a gap" } else { "an overlap" };
                gaps.note(|| format!("{kind} of {:.1} ms in the audio", ms(off.abs())));
            } else if off.abs() > AUDIO_JITTER_MAX {
                jitter.note(|| format!("audio is {:.1} ms off its own samples", ms(off)));
            }
        }
        Some(advanced(pts, adts.ticks()))
    }

    fn timing(&self, pid: u16) -> Option<Timing> {
        let ((first_pts, first_dts), (_, last_dts)) = (*self.units.first()?, *self.units.last()?);
        let intervals = i64::try_from(self.units.len()).unwrap_or(i64::MAX) - 1;
        // A lone unit is taken for a frame at 25 per second.
        let frame = difference(last_dts, first_dts).checked_div(intervals).unwrap_or(HZ / 25).max(1);
        let mut longest = 0;
        for pair in self.units.windows(2) {
            if let [(_, before), (_, after)] = pair {
                longest = longest.max(difference(*after, *before));
            }
        }
        Some(Timing { pid, first_pts, first_dts, end_dts: advanced(last_dts, frame), frame, longest })
    }

    /// DTS increases and PTS is not below it (H.222.0 2.4.3.7).
    fn check_times(&self, sequence: u64, log: &mut Log) {
        let (mut backwards, mut holes, mut below) = (0_u64, 0_u64, 0_u64);
        for (pts, dts) in &self.units {
            below += u64::from(difference(*pts, *dts) < 0);
        }
        for pair in self.units.windows(2) {
            if let [(_, before), (_, after)] = pair {
                let interval = difference(*after, *before);
                backwards += u64::from(interval <= 0);
                holes += u64::from(interval > UNIT_INTERVAL_MAX);
            }
        }
        if backwards > 0 {
            log.error("ts 6.6", format!("segment {sequence}: DTS does not increase {backwards} time(s)"));
        }
        if below > 0 {
            log.error("ts 6.6", format!("segment {sequence}: PTS is below DTS {below} time(s)"));
        }
        if holes > 0 {
            log.warning("ts 6.8", format!("segment {sequence}: {holes} hole(s) of more than 0.7 s"));
        }
        if self.without_pts > 0 {
            log.error(
                "ts 5.3",
                format!("segment {sequence}: {} PES packet(s) without PTS", self.without_pts),
            );
        }
    }
}

impl Scan {
    fn pmt(&mut self, pmt: &Pmt) {
        self.pmt_seen = true;
        self.pcr_pid = pmt.pcr_pid.map(|pid| pid.as_u16());
        for stream in &pmt.es_info {
            self.streams.entry(stream.elementary_pid.as_u16()).or_insert_with(|| Stream {
                codec: Codec::of(stream.stream_type),
                units: Vec::new(),
                without_pts: 0,
                first_unit: Vec::new(),
                random_access: false,
                audio: None,
            });
        }
    }

    fn first_of(&self, wanted: impl Fn(Codec) -> bool) -> Option<(u16, &Stream)> {
        let mut streams = self.streams.iter().map(|(pid, stream)| (*pid, stream));
        streams.find(|(_, stream)| wanted(stream.codec) && !stream.units.is_empty())
    }

    fn main(&self) -> Option<Timing> {
        let (pid, stream) = self.first_of(Codec::is_video).or_else(|| self.first_of(Codec::is_audio))?;
        stream.timing(pid)
    }

    /// The tallies as findings.
    fn report(&self, sequence: u64, log: &mut Log) {
        if self.lost_sync > 0 {
            log.error(
                "ts 1.2",
                format!("segment {sequence}: {} packets do not start with 0x47", self.lost_sync),
            );
        }
        if self.before_pmt > 0 || !self.pmt_seen {
            let before = self.before_pmt;
            log.error(
                "ts 1.1",
                format!("segment {sequence}: {before} packets stand in front of PAT and PMT"),
            );
        }
        if self.nulls > 0 {
            log.notice("ts 1.5", format!("segment {sequence}: {} null packets", self.nulls));
        }
        if self.strays > 0 {
            log.notice(
                "ts 3.5",
                format!("segment {sequence}: {} packets of PIDs that no PMT lists", self.strays),
            );
        }
        if self.transport_errors > 0 {
            log.error(
                "ts 2.3",
                format!("segment {sequence}: {} packets marked as damaged", self.transport_errors),
            );
        }
        if self.scrambled > 0 {
            log.notice("hls 11", "scrambled packets are not examined");
        }
        if self.pmt_seen && self.pcr_pid.is_none() {
            log.error("ts 3.6", format!("segment {sequence}: the PMT names no PCR PID"));
        } else if self.pmt_seen && self.pcrs == 0 {
            log.error("ts 6.7", format!("segment {sequence} has no PCR"));
        }
        let line = |tally: &Tally| tally.text().map(|text| format!("segment {sequence}: {text}"));
        for (rule, tally) in [
            ("ts 1.4", &self.border_jumps),
            ("ts 2.1", &self.jumps),
            ("ts 6.7", &self.late_pcrs),
            ("ts 8.5", &self.audio_broken),
        ] {
            if let Some(message) = line(tally) {
                log.error(rule, message);
            }
        }
        for (rule, tally) in
            [("ts 2", &self.unreadable), ("ts 6.7", &self.pcr_gaps), ("ts 6.2", &self.audio_gaps)]
        {
            if let Some(message) = line(tally) {
                log.warning(rule, message);
            }
        }
        if let Some(message) = line(&self.audio_jitter) {
            log.notice("ts 6.2", message);
        }
    }

    /// What a player needs to start here.
    fn check_start(&self, info: &SegmentInfo, log: &mut Log) {
        let sequence = info.sequence;
        for (pid, stream) in &self.streams {
            if stream.units.is_empty()
                && (stream.codec.is_video() || stream.codec.is_audio())
                && self.scrambled == 0
            {
                log.warning(
                    "ts 9.2",
                    format!("segment {sequence}: PID {pid:#06x} is announced and carries nothing"),
                );
            }
        }
        let (video, audio) = (self.first_of(Codec::is_video), self.first_of(Codec::is_audio));
        if video.is_none() && audio.is_none() && self.scrambled == 0 && self.pmt_seen {
            log.error("ts 1.1", format!("segment {sequence} carries no media"));
        }
        let Some((_, stream)) = video else { return };
        let Codec::Video(codec) = stream.codec else { return };
        let first = FirstUnit::read(codec, &stream.first_unit);
        if !first.random_access_picture {
            let message = format!("segment {sequence} does not start with a picture that decodes alone");
            if info.independent {
                log.error("ts 1.3", format!("{message}, which #EXT-X-INDEPENDENT-SEGMENTS promises"));
            } else {
                log.warning("ts 1.3", message);
            }
        } else if !first.parameter_sets {
            log.error(
                "ts 7.3",
                format!("segment {sequence} has no parameter sets in front of its first picture"),
            );
        }
        if !first.delimiter {
            log.warning("ts 7.2", format!("segment {sequence} does not start with an access unit delimiter"));
        }
        if first.random_access_picture && !stream.random_access {
            log.warning(
                "ts 2.6",
                format!("segment {sequence}: random_access_indicator is not set at its first picture"),
            );
        }
        if let (Some((pts, _)), Some((audio_pts, _))) =
            (stream.units.first(), audio.and_then(|(_, audio)| audio.units.first()))
        {
            let off = difference(*audio_pts, *pts);
            if off.abs() > START_OFFSET_MAX {
                let side = if off > 0 { "behind" } else { "ahead of" };
                log.warning(
                    "ts 1.6",
                    format!("segment {sequence}: audio starts {:.0} ms {side} video", ms(off.abs())),
                );
            }
        }
    }
}
