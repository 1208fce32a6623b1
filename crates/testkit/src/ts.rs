//! MPEG-TS segments read back through the `mpeg2ts` crate: a list of access units and a list of what is wrong.
//!
//! [`TsReader`] takes segments in playlist order and checks what has to hold over their borders: continuity counters,
//! the clock, decode times. The rules are those of H.222.0 and of the HLS authoring practice; each finding names the
//! segment and the packet.

use std::collections::BTreeMap;

use mpeg2ts::es::StreamType;
use mpeg2ts::ts::payload::Pmt;
use mpeg2ts::ts::{ReadTsPacket, TsPacket, TsPacketReader, TsPayload};

use crate::annexb::{self, nal_type};
use crate::{adts, mp3};

/// Bytes in a transport packet.
const PACKET_SIZE: usize = 188;

/// PTS, DTS and the clock's base count modulo this.
const CLOCK_MODULUS: i64 = 1 << 33;

/// The clock comes at least this often (H.222.0 2.7.2): 100 ms in 90 kHz ticks.
const PCR_INTERVAL_MAX: i64 = 9_000;

/// PAT and PMT come at least this often inside a segment: 500 ms in 90 kHz ticks.
const TABLES_INTERVAL_MAX: i64 = 45_000;

/// A report lists this many findings and counts the rest: a stream that is wrong is wrong everywhere.
const FINDINGS_MAX: usize = 200;

/// What an elementary stream holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// H.264, stream type 0x1b.
    H264,
    /// AAC in ADTS, stream type 0x0f.
    Aac,
    /// MPEG audio, stream types 0x03 and 0x04.
    Mp3,
}

/// One reading of the program clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pcr {
    /// Segment, counted from 0.
    pub segment: usize,
    /// Packet within the segment, counted from 0.
    pub packet: usize,
    /// 90 kHz ticks, unwrapped.
    pub ticks: i64,
    /// The packet carries the discontinuity indicator.
    pub discontinuity: bool,
    /// The packet carries nothing else.
    pub alone: bool,
}

/// One PES packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pes {
    /// Segment, counted from 0.
    pub segment: usize,
    /// The packet within the segment that it begins in, counted from 0.
    pub packet: usize,
    /// Packet identifier.
    pub pid: u16,
    /// What the program map says of the PID.
    pub coding: Coding,
    /// stream_id of the header.
    pub stream_id: u8,
    /// 90 kHz ticks, unwrapped.
    pub pts: i64,
    /// 90 kHz ticks, unwrapped; equal to `pts` when not written.
    pub dts: i64,
    /// DTS was written.
    pub dts_written: bool,
    /// Its first packet carries the random access indicator.
    pub random_access: bool,
    /// Its first packet carries the clock.
    pub pcr: bool,
    /// PES_packet_length; 0 when left open.
    pub declared_length: u16,
    /// What follows the header.
    pub payload: Vec<u8>,
}

impl Pes {
    /// The NAL units of a video PES packet, delimiters and parameter sets included.
    ///
    /// # Errors
    /// As [`annexb::nal_units`].
    pub fn nal_units(&self) -> Result<Vec<&[u8]>, String> {
        annexb::nal_units(&self.payload)
    }

    /// The raw frames of an audio PES packet with the time of each, 90 kHz ticks: the first at the PES packet's PTS, the
    /// others by counting samples, as players do.
    ///
    /// # Errors
    /// As [`adts::frames`] and [`mp3::frames`].
    pub fn audio_frames(&self) -> Result<Vec<(i64, &[u8])>, String> {
        let (rate, samples, raw): (u32, u32, Vec<&[u8]>) = match self.coding {
            Coding::Aac => {
                let frames = adts::frames(&self.payload)?;
                let rate = frames.first().map_or(0, |frame| adts::sample_rate(frame.frequency_index));
                (rate, 1_024, frames.into_iter().map(|frame| frame.raw).collect())
            }
            Coding::Mp3 => {
                let frames = mp3::frames(&self.payload)?;
                let (rate, samples) = frames.first().map_or((0, 0), |frame| (frame.rate, frame.samples));
                (rate, samples, frames.into_iter().map(|frame| frame.bytes).collect())
            }
            Coding::H264 => return Err("video, not audio".to_owned()),
        };
        if rate == 0 {
            return Err("reserved sampling rate, or no frame".to_owned());
        }
        let rate = i64::from(rate);
        let at = |n: usize| {
            let samples = i64::try_from(n).unwrap_or(0) * i64::from(samples);
            self.pts + (samples * 90_000 + rate / 2) / rate
        };
        Ok(raw.into_iter().enumerate().map(|(n, frame)| (at(n), frame)).collect())
    }

    /// True for the coding that is video.
    pub fn is_video(&self) -> bool {
        self.coding == Coding::H264
    }

    /// True when a video PES packet holds a slice of an IDR picture.
    pub fn is_idr(&self) -> bool {
        self.is_video()
            && self
                .nal_units()
                .is_ok_and(|units| units.iter().any(|unit| annexb::kind(unit) == nal_type::IDR))
    }
}

/// A program map as it appeared, when it differs from the one before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramMap {
    /// Segment, counted from 0.
    pub segment: usize,
    /// version_number.
    pub version: u8,
    /// PID of the clock.
    pub pcr_pid: Option<u16>,
    /// (stream_type, PID) in the map's order.
    pub streams: Vec<(u8, u16)>,
}

/// What was read.
#[derive(Debug, Clone, Default)]
pub struct TsReport {
    /// Segments fed.
    pub segments: usize,
    /// Packets read.
    pub packets: usize,
    /// Every PES packet in the order in which each one begins. Video: one access unit each.
    pub access_units: Vec<Pes>,
    /// Every reading of the clock.
    pub pcrs: Vec<Pcr>,
    /// Program maps, changes only.
    pub program_maps: Vec<ProgramMap>,
    /// What is wrong, one sentence each; empty for a good stream.
    pub findings: Vec<String>,
    /// Findings that were counted but not kept.
    pub findings_dropped: usize,
}

impl TsReport {
    /// The video access units, in order.
    pub fn video(&self) -> impl Iterator<Item = &Pes> {
        self.access_units.iter().filter(|pes| pes.is_video())
    }

    /// The audio PES packets, in order.
    pub fn audio(&self) -> impl Iterator<Item = &Pes> {
        self.access_units.iter().filter(|pes| !pes.is_video())
    }
}

/// Reads segments in order.
#[derive(Debug, Default)]
pub struct TsReader {
    report: TsReport,
    counters: BTreeMap<u16, u8>,
    codings: BTreeMap<u16, Coding>,
    open: BTreeMap<u16, Pes>,
    dts: BTreeMap<u16, i64>,
    pcr_pid: Option<u16>,
    pcr: Option<i64>,
    /// The time that 33-bit values are unwrapped towards.
    near: Option<i64>,
    /// DTS of the clock's track when the tables were last seen in this segment.
    tables_at: Option<i64>,
    tables_fresh: bool,
    /// The playlist announced that the next segment does not continue the last one.
    broken: bool,
    packet: usize,
}

impl TsReader {
    /// A reader before the first segment.
    pub fn new() -> TsReader {
        TsReader::default()
    }

    /// The playlist has EXT-X-DISCONTINUITY before the next segment: times may jump and tracks may change there, and the
    /// clock must carry the discontinuity indicator. Continuity counters still have to run on.
    pub fn discontinuity(&mut self) {
        self.broken = true;
    }

    /// The next segment, whole.
    pub fn segment(&mut self, bytes: &[u8]) {
        self.packet = 0;
        self.tables_at = None;
        if !bytes.len().is_multiple_of(PACKET_SIZE) {
            self.find(format!("size {} is not a multiple of 188", bytes.len()));
        }
        let first_unit = self.report.access_units.len();
        if self.broken {
            self.pcr = None;
            self.dts.clear();
            self.near = None;
        }
        let mut packets = TsPacketReader::new(bytes);
        for raw in bytes.chunks(PACKET_SIZE) {
            match packets.read_ts_packet() {
                Ok(Some(packet)) => self.take(&packet, raw),
                Ok(None) => break,
                Err(error) => {
                    self.find(format!("mpeg2ts: {error}"));
                    break;
                }
            }
            self.packet += 1;
            self.report.packets += 1;
        }
        for pid in self.open.keys().copied().collect::<Vec<_>>() {
            self.close(pid);
        }
        self.report.access_units.get_mut(first_unit..).unwrap_or_default().sort_by_key(|pes| pes.packet);
        self.check_segment_start(first_unit);
        self.report.segments += 1;
    }

    /// What was read and found.
    pub fn finish(self) -> TsReport {
        let mut report = self.report;
        if report.access_units.is_empty() {
            report.findings.push("no access unit at all".to_owned());
        }
        report
    }

    fn find(&mut self, what: impl AsRef<str>) {
        if self.report.findings.len() >= FINDINGS_MAX {
            self.report.findings_dropped += 1;
            return;
        }
        let sentence = format!("segment {} packet {}: {}", self.report.segments, self.packet, what.as_ref());
        self.report.findings.push(sentence);
    }

    fn take(&mut self, packet: &TsPacket, raw: &[u8]) {
        let pid = packet.header.pid.as_u16();
        self.check_header(packet, raw);
        let start = match (self.packet, &packet.payload) {
            (0, Some(TsPayload::Pat(_))) | (1, Some(TsPayload::Pmt(_))) => true,
            (0 | 1, _) => false,
            _ => true,
        };
        if !start {
            self.find("a segment begins with PAT, PMT");
        }
        let mut discontinuity = false;
        if let Some(field) = &packet.adaptation_field {
            discontinuity = field.discontinuity_indicator;
            if let Some(pcr) = field.pcr {
                self.take_pcr(pid, pcr.as_u64(), discontinuity, packet.payload.is_none());
            } else if discontinuity && Some(pid) == self.pcr_pid {
                self.find("discontinuity indicator on the clock's PID without a clock");
            }
        }
        self.check_counter(packet, pid, discontinuity);
        match &packet.payload {
            Some(TsPayload::Pat(pat)) => {
                if pat.table.len() != 1 {
                    self.find(format!("{} programs", pat.table.len()));
                }
                self.tables_fresh = true;
            }
            Some(TsPayload::Pmt(map)) => self.take_map(map),
            Some(TsPayload::PesStart(pes)) => {
                self.close(pid);
                let field = packet.adaptation_field.as_ref();
                let random_access = field.is_some_and(|field| field.random_access_indicator);
                let has_pcr = field.is_some_and(|field| field.pcr.is_some());
                self.open_pes(pid, pes, random_access, has_pcr);
            }
            Some(TsPayload::PesContinuation(data)) => match self.open.get_mut(&pid) {
                Some(pes) => pes.payload.extend_from_slice(data),
                None => self.find(format!("PID {pid:#x} continues a PES packet that never began")),
            },
            Some(TsPayload::Section(_) | TsPayload::Null(_) | TsPayload::Raw(_)) => {
                self.find(format!("PID {pid:#x} has no place in a segment"));
            }
            None => {}
        }
    }

    fn check_header(&mut self, packet: &TsPacket, raw: &[u8]) {
        if packet.header.transport_error_indicator || packet.header.transport_priority {
            self.find("error or priority bit set");
        }
        if raw.get(3).is_some_and(|flags| flags & 0xc0 != 0) {
            self.find("scrambled");
        }
        // mpeg2ts takes "payload" on trust; a packet with none to show is one no decoder expects.
        if let Some(TsPayload::PesContinuation(data)) = &packet.payload
            && data.is_empty()
        {
            self.find("payload announced, none there");
        }
    }

    /// H.222.0 2.4.3.3.
    fn check_counter(&mut self, packet: &TsPacket, pid: u16, discontinuity: bool) {
        let counter = packet.header.continuity_counter.as_u8();
        if let Some(last) = self.counters.get(&pid).copied() {
            let expected = if packet.payload.is_some() { (last + 1) & 0x0f } else { last };
            if counter != expected && !(discontinuity && packet.payload.is_some()) {
                self.find(format!("PID {pid:#x} continuity counter {counter}, not {expected}"));
            }
        }
        self.counters.insert(pid, counter);
    }

    fn take_map(&mut self, map: &Pmt) {
        let streams: Vec<(u8, u16)> =
            map.es_info.iter().map(|es| (es.stream_type as u8, es.elementary_pid.as_u16())).collect();
        self.codings.clear();
        for es in &map.es_info {
            let coding = match es.stream_type {
                StreamType::H264 => Coding::H264,
                StreamType::AdtsAac => Coding::Aac,
                StreamType::Mpeg1Audio | StreamType::Mpeg2HalvedSampleRateAudio => Coding::Mp3,
                other => {
                    self.find(format!("stream type {other:?}"));
                    continue;
                }
            };
            self.codings.insert(es.elementary_pid.as_u16(), coding);
        }
        if self.codings.values().filter(|coding| **coding != Coding::H264).count() > 1 {
            self.find("several audio streams");
        }
        self.pcr_pid = map.pcr_pid.map(|pid| pid.as_u16());
        if self.pcr_pid.is_none_or(|pid| !self.codings.contains_key(&pid)) {
            self.find("the clock's PID is not a stream of the program");
        }
        let version = map.version_number.as_u8();
        let now = ProgramMap { segment: self.report.segments, version, pcr_pid: self.pcr_pid, streams };
        if let Some(last) = self.report.program_maps.last() {
            let same = last.streams == now.streams && last.pcr_pid == now.pcr_pid;
            let (was, announced) = (last.version, self.broken);
            if same && was == version {
                return;
            }
            if same || version != (was + 1) & 0x1f {
                self.find(format!("program map version {was} became {version}, content equal: {same}"));
            }
            if !announced {
                self.find("program map changed without EXT-X-DISCONTINUITY");
            }
        }
        self.report.program_maps.push(now);
    }

    fn take_pcr(&mut self, pid: u16, value: u64, discontinuity: bool, alone: bool) {
        if Some(pid) != self.pcr_pid {
            self.find(format!("clock on PID {pid:#x}, the map says {:?}", self.pcr_pid));
        }
        let base = i64::try_from(value / 300).unwrap_or(0);
        let ticks = self.unwrap(base);
        if discontinuity != self.broken {
            self.find(format!("discontinuity indicator {discontinuity}, playlist {}", self.broken));
        }
        self.broken = false;
        if let Some(last) = self.pcr.filter(|_| !discontinuity) {
            if ticks <= last {
                self.find(format!("clock goes from {last} to {ticks}"));
            }
            if ticks - last > PCR_INTERVAL_MAX {
                self.find(format!("clock {} ms apart", (ticks - last) / 90));
            }
        }
        self.pcr = Some(ticks);
        let (segment, packet) = (self.report.segments, self.packet);
        self.report.pcrs.push(Pcr { segment, packet, ticks, discontinuity, alone });
    }

    fn open_pes(&mut self, pid: u16, pes: &mpeg2ts::ts::payload::Pes, random_access: bool, has_pcr: bool) {
        let Some(coding) = self.codings.get(&pid).copied() else {
            self.find(format!("PID {pid:#x} is not in the program map"));
            return;
        };
        let Some(pts) = pes.header.pts else {
            self.find("PES packet without PTS");
            return;
        };
        let pts = self.unwrap(i64::try_from(pts.as_u64()).unwrap_or(0));
        let written = pes.header.dts.map(|dts| i64::try_from(dts.as_u64()).unwrap_or(0));
        let dts = written.map_or(pts, |dts| self.unwrap(dts));
        let opened = Pes {
            segment: self.report.segments,
            packet: self.packet,
            pid,
            coding,
            stream_id: pes.header.stream_id.as_u8(),
            pts,
            dts,
            dts_written: written.is_some(),
            random_access,
            pcr: has_pcr,
            declared_length: pes.pes_packet_len,
            payload: pes.data.to_vec(),
        };
        self.check_times(&opened);
        self.open.insert(pid, opened);
    }

    fn check_times(&mut self, pes: &Pes) {
        if pes.dts > pes.pts {
            self.find(format!("PTS {} before DTS {}", pes.pts, pes.dts));
        }
        if pes.dts_written && pes.dts == pes.pts {
            self.find("DTS written though equal to PTS");
        }
        if let Some(last) = self.dts.insert(pes.pid, pes.dts)
            && pes.dts <= last
        {
            self.find(format!("PID {:#x} DTS goes from {last} to {}", pes.pid, pes.dts));
        }
        match self.pcr {
            Some(pcr) if pcr > pes.dts => {
                self.find(format!("clock {pcr} is ahead of DTS {} of PID {:#x}", pes.dts, pes.pid));
            }
            Some(_) => {}
            None => self.find("no clock before the first access unit"),
        }
        if Some(pes.pid) == self.pcr_pid {
            if self.tables_fresh {
                self.tables_at = Some(pes.dts);
                self.tables_fresh = false;
            }
            if self.tables_at.is_some_and(|at| pes.dts - at > TABLES_INTERVAL_MAX) {
                self.find(format!("PAT last seen {} ms ago", (pes.dts - self.tables_at.unwrap_or(0)) / 90));
            }
        }
    }

    /// The PES packet of a PID is complete.
    fn close(&mut self, pid: u16) {
        let Some(pes) = self.open.remove(&pid) else { return };
        let header = if pes.dts_written { 13 } else { 8 };
        let length = pes.payload.len() + header;
        let declared = usize::from(pes.declared_length);
        if declared != 0 && declared != length {
            self.find(format!("PES packet of {length} bytes declares {declared}"));
        }
        if declared == 0 && !pes.is_video() {
            self.find("only video may leave PES_packet_length open");
        }
        let expected_id = if pes.is_video() { 0xe0 } else { 0xc0 };
        if pes.stream_id != expected_id {
            self.find(format!("stream_id {:#x}", pes.stream_id));
        }
        if pes.is_video() {
            self.check_access_unit(&pes);
        } else if let Err(error) = pes.audio_frames() {
            self.find(error);
        }
        self.report.access_units.push(pes);
    }

    fn check_access_unit(&mut self, pes: &Pes) {
        let kinds: Vec<u8> = match pes.nal_units() {
            Ok(units) => units.into_iter().map(annexb::kind).collect(),
            Err(error) => return self.find(error),
        };
        if !pes.payload.starts_with(&[0, 0, 0, 1]) {
            self.find("the first start code has not four bytes");
        }
        if kinds.first() != Some(&nal_type::AUD) {
            self.find("access unit without a delimiter in front");
        }
        if kinds.iter().filter(|kind| **kind == nal_type::AUD).count() > 1 {
            self.find("several access units in a PES packet");
        }
        for forbidden in [nal_type::FILLER, nal_type::END_OF_SEQUENCE, nal_type::END_OF_STREAM] {
            if kinds.contains(&forbidden) {
                self.find(format!("NAL unit type {forbidden}"));
            }
        }
        let at = |kind| kinds.iter().position(|other| *other == kind);
        if let Some(idr) = at(nal_type::IDR) {
            let sps = at(nal_type::SPS).filter(|sps| *sps < idr);
            let pps = at(nal_type::PPS).filter(|pps| *pps < idr);
            if sps.is_none() || pps.is_none_or(|pps| Some(pps) < sps) {
                self.find("IDR picture without SPS, then PPS before it");
            }
        }
        if pes.random_access != at(nal_type::IDR).is_some() {
            self.find(format!("random access indicator {}", pes.random_access));
        }
    }

    fn check_segment_start(&mut self, first_unit: usize) {
        let units = self.report.access_units.get(first_unit..).unwrap_or_default();
        let has_video = self.codings.values().any(|coding| *coding == Coding::H264);
        let what = match units.iter().find(|pes| pes.is_video() || !has_video) {
            Some(first) if !first.pcr => "the first PES packet has no clock",
            Some(first) if !first.random_access => "the first PES packet is no random access point",
            Some(_) => return,
            None => "nothing of the clock's track",
        };
        self.find(what);
    }

    /// The value modulo 2^33 nearest to the last time seen.
    fn unwrap(&mut self, value: i64) -> i64 {
        let ticks = match self.near {
            None => value,
            Some(near) => {
                let ahead = (value - near).rem_euclid(CLOCK_MODULUS);
                near + if ahead < CLOCK_MODULUS / 2 { ahead } else { ahead - CLOCK_MODULUS }
            }
        };
        self.near = Some(ticks);
        ticks
    }
}
