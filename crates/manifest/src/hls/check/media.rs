//! One media playlist alone: reads it and checks everything that needs no other version (8216bis 4.4.3 to 4.4.5, 8).

use super::low_latency::{HintText, PartText, ReportText, digit_us};
use super::syntax::{Attributes, DateTime, Line, date_time, decimal_integer, decimal_micros, decimals};
use super::{check_tag, low_latency, numbered_lines, seconds_of_us};
use crate::findings::Findings;
use crate::findings::excerpt;

/// Most segments of a playlist that are kept: a day and a half of two-second segments.
const SEGMENTS_MAX: usize = 65_536;

/// How far two consecutive PROGRAM-DATE-TIMEs may be from the EXTINF between them, in microseconds. Dates are written in
/// milliseconds, and may be set right by the encoder's drift, some milliseconds at a time; a lost 50 fps frame is 20 ms.
const DATE_TOLERANCE_US: u64 = 15_000;

/// A media playlist as it was read. Where a tag was missing or unreadable, its field holds what a client assumes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MediaText {
    /// EXT-X-VERSION.
    pub version: Option<u64>,
    /// EXT-X-TARGETDURATION in seconds.
    pub target_duration: Option<u64>,
    /// EXT-X-MEDIA-SEQUENCE, 0 when absent.
    pub media_sequence: u64,
    /// EXT-X-DISCONTINUITY-SEQUENCE.
    pub discontinuity_sequence: Option<u64>,
    /// EXT-X-INDEPENDENT-SEGMENTS.
    pub independent_segments: bool,
    /// EXT-X-PLAYLIST-TYPE.
    pub playlist_type: Option<String>,
    /// EXT-X-ENDLIST.
    pub ended: bool,
    /// EXT-X-I-FRAMES-ONLY.
    pub i_frames_only: bool,
    /// SKIPPED-SEGMENTS of a delta update.
    pub skipped_segments: Option<u64>,
    /// The EXT-X-SERVER-CONTROL attributes, sorted.
    pub server_control: Option<Vec<(String, String)>>,
    /// PART-TARGET of EXT-X-PART-INF in microseconds.
    pub part_target_us: Option<u64>,
    /// The segments, numbered from [`MediaText::media_sequence`].
    pub segments: Vec<SegmentText>,
    /// The segment under construction, when parts of it are listed: without a URI, as long as its parts.
    pub edge: Option<SegmentText>,
    /// The EXT-X-PRELOAD-HINT of TYPE=PART.
    pub hint: Option<HintText>,
    /// The URI of the EXT-X-PRELOAD-HINT of TYPE=MAP.
    pub map_hint: Option<String>,
    /// The EXT-X-RENDITION-REPORT tags.
    pub reports: Vec<ReportText>,
}

impl MediaText {
    /// The number after the last segment's.
    pub fn end_sequence(&self) -> u64 {
        self.media_sequence.saturating_add(self.segments.len() as u64)
    }

    /// The segment of that number, if it is listed.
    pub fn segment(&self, sequence: u64) -> Option<&SegmentText> {
        let index = usize::try_from(sequence.checked_sub(self.media_sequence)?).ok()?;
        self.segments.get(index)
    }

    /// Whether it lists parts, or announces some.
    pub fn is_low_latency(&self) -> bool {
        self.part_target_us.is_some()
            || self.segments.iter().chain(&self.edge).any(|segment| !segment.parts.is_empty())
    }

    /// Where the playlist ends: the number of the segment that its last part belongs to, and the part's index there; or
    /// the last segment's number, when its parts are not listed.
    pub fn last_position(&self) -> (u64, Option<u64>) {
        let last = self.edge.as_ref().or(self.segments.last());
        let part = last.and_then(|last| (last.parts.len() as u64).checked_sub(1));
        (last.map_or(self.media_sequence, |last| last.sequence), part)
    }

    /// The sum of all EXTINF in microseconds.
    pub fn duration_us(&self) -> u64 {
        self.segments.iter().fold(0, |sum, segment| sum.saturating_add(segment.duration_us))
    }
}

/// One segment as it was read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SegmentText {
    /// Its media sequence number.
    pub sequence: u64,
    /// The URI line.
    pub uri: String,
    /// EXTINF in microseconds; 0 when it was missing or unreadable.
    pub duration_us: u64,
    /// EXT-X-DISCONTINUITY tags in front of it; each counts in EXT-X-DISCONTINUITY-SEQUENCE.
    pub discontinuities: u64,
    /// EXT-X-GAP.
    pub gap: bool,
    /// Its own EXT-X-PROGRAM-DATE-TIME in microseconds since the Unix epoch.
    pub program_date_time_us: Option<i64>,
    /// URI of the EXT-X-MAP that applies to it.
    pub map: Option<String>,
    /// It is a range of a larger resource (EXT-X-BYTERANGE).
    pub byte_range: bool,
    /// It is encrypted: an EXT-X-KEY other than METHOD=NONE applies.
    pub encrypted: bool,
    /// Its EXT-X-PART tags; the oldest of them may have been removed.
    pub parts: Vec<PartText>,
    /// The last digit that EXTINF is written with, in microseconds.
    pub(super) digit_us: u64,
}

/// Reads `text` and reports what is wrong with it alone.
pub(super) fn read(text: &str, findings: &mut Findings) -> MediaText {
    let mut reader = Reader::new(findings);
    for (_, line) in numbered_lines(text) {
        match Line::new(line) {
            Line::Tag { name, value } => reader.tag(name, value),
            Line::Uri(uri) => reader.uri(uri),
            Line::Blank | Line::Comment => {}
        }
        if reader.playlist.segments.len() >= SEGMENTS_MAX {
            reader.findings.error("hls 1", format!("only the first {SEGMENTS_MAX} segments are examined"));
            break;
        }
    }
    reader.finish()
}

/// What stood between the last URI and here.
#[derive(Default)]
struct Pending {
    duration_us: Option<u64>,
    discontinuities: u64,
    gap: bool,
    date: Option<DateTime>,
    byte_range: bool,
    parts: Vec<PartText>,
    digit_us: u64,
    /// The place in [`ORDER`] and the name of the last tag.
    last: Option<(usize, &'static str)>,
}

/// The order of a segment's tags used here (hls 3.18); DATERANGE and PART are free.
const ORDER: [&str; 7] = [
    "EXT-X-DISCONTINUITY",
    "EXT-X-KEY",
    "EXT-X-MAP",
    "EXT-X-PROGRAM-DATE-TIME",
    "EXT-X-GAP",
    "EXTINF",
    "EXT-X-BYTERANGE",
];

/// Tags that apply to a segment's parts too, and so stand in front of the first.
const TAGS_BEFORE_PARTS: [&str; 4] =
    ["EXT-X-DISCONTINUITY", "EXT-X-KEY", "EXT-X-MAP", "EXT-X-PROGRAM-DATE-TIME"];

/// Why a version is needed: 8216bis 8.
struct VersionNeed {
    version: u64,
    reason: &'static str,
}

struct Reader<'f> {
    findings: &'f mut Findings,
    playlist: MediaText,
    pending: Pending,
    /// The EXT-X-MAP and EXT-X-KEY in force.
    map: Option<String>,
    encrypted: bool,
    /// The date that the next segment has if its predecessor's date and EXTINF are right.
    expected_date_us: Option<i64>,
    need: VersionNeed,
    /// Version that the offer of delta updates justifies, though no tag needs it yet.
    skip_offer_version: u64,
    has_media_sequence: bool,
    has_map: bool,
    has_date: bool,
    has_date_range: bool,
    has_preload_hint: bool,
    start_offset: Option<(bool, u64)>,
}

impl<'f> Reader<'f> {
    fn new(findings: &'f mut Findings) -> Reader<'f> {
        Reader {
            findings,
            playlist: MediaText::default(),
            pending: Pending::default(),
            map: None,
            encrypted: false,
            expected_date_us: None,
            need: VersionNeed { version: 1, reason: "nothing in it needs more" },
            skip_offer_version: 0,
            has_media_sequence: false,
            has_map: false,
            has_date: false,
            has_date_range: false,
            has_preload_hint: false,
            start_offset: None,
        }
    }

    fn needs(&mut self, version: u64, reason: &'static str) {
        if version > self.need.version {
            self.need = VersionNeed { version, reason };
        }
    }

    /// The number of the segment that is being read.
    fn sequence(&self) -> u64 {
        self.playlist.end_sequence()
    }

    fn tag(&mut self, name: &str, value: Option<&str>) {
        let attributes = check_tag(name, value, self.findings);
        let text = value.unwrap_or_default();
        self.check_order(name);
        match name {
            "EXT-X-VERSION" => self.playlist.version = decimal_integer(text),
            "EXT-X-TARGETDURATION" => self.playlist.target_duration = decimal_integer(text),
            "EXT-X-MEDIA-SEQUENCE" => self.media_sequence(text),
            "EXT-X-DISCONTINUITY-SEQUENCE" => self.discontinuity_sequence(text),
            "EXT-X-INDEPENDENT-SEGMENTS" => self.playlist.independent_segments = true,
            "EXT-X-ENDLIST" => self.playlist.ended = true,
            "EXT-X-PLAYLIST-TYPE" => self.playlist_type(text),
            "EXT-X-I-FRAMES-ONLY" => {
                self.playlist.i_frames_only = true;
                self.needs(4, "EXT-X-I-FRAMES-ONLY");
            }
            "EXT-X-ALLOW-CACHE" => {
                self.findings.warning("hls 3.8", "#EXT-X-ALLOW-CACHE was removed in protocol version 7");
            }
            "EXT-X-SERVER-CONTROL" => self.server_control(&attributes),
            "EXT-X-SKIP" => {
                self.playlist.skipped_segments = Some(attributes.integer("SKIPPED-SEGMENTS").unwrap_or(0));
                self.needs(9, "EXT-X-SKIP");
                if attributes.text("RECENTLY-REMOVED-DATERANGES").is_some() {
                    self.needs(10, "EXT-X-SKIP that removes date ranges");
                }
            }
            "EXT-X-START" => {
                self.start_offset = attributes.text("TIME-OFFSET").and_then(|text| {
                    let magnitude = decimal_micros(text.strip_prefix('-').unwrap_or(text))?;
                    Some((text.starts_with('-'), magnitude))
                });
            }
            "EXT-X-DEFINE" if attributes.text("QUERYPARAM").is_some() => self.needs(11, "QUERYPARAM"),
            "EXT-X-DEFINE" => self.needs(8, "EXT-X-DEFINE"),
            "EXT-X-PART-INF" => {
                self.playlist.part_target_us = attributes.text("PART-TARGET").and_then(decimal_micros);
            }
            "EXT-X-PART" => self.part(&attributes),
            "EXT-X-PRELOAD-HINT" => self.preload_hint(&attributes),
            "EXT-X-RENDITION-REPORT" => self.playlist.reports.push(ReportText::read(&attributes)),
            _ => self.segment_tag(name, text, &attributes),
        }
    }

    fn segment_tag(&mut self, name: &str, text: &str, attributes: &Attributes<'_>) {
        match name {
            "EXTINF" => self.extinf(text),
            "EXT-X-DISCONTINUITY" => {
                self.pending.discontinuities = self.pending.discontinuities.saturating_add(1);
                if self.pending.discontinuities == 2 {
                    let sequence = self.sequence();
                    self.findings.warning(
                        "hls 3.9",
                        format!(
                            "segment {sequence} has more than one #EXT-X-DISCONTINUITY; each of them counts"
                        ),
                    );
                }
            }
            "EXT-X-GAP" => self.pending.gap = true,
            "EXT-X-BYTERANGE" => {
                self.pending.byte_range = true;
                self.needs(4, "EXT-X-BYTERANGE");
                let (length, offset) = text.split_once('@').unwrap_or((text, "0"));
                if decimal_integer(length).is_none() || decimal_integer(offset).is_none() {
                    self.findings.error("hls 1.2", format!("#EXT-X-BYTERANGE is {}", excerpt(text)));
                }
            }
            "EXT-X-PROGRAM-DATE-TIME" => self.program_date_time(text),
            "EXT-X-KEY" => self.key(attributes),
            "EXT-X-MAP" => {
                self.has_map = true;
                self.map = attributes.text("URI").map(str::to_owned);
            }
            "EXT-X-DATERANGE" => {
                self.has_date_range = true;
                let ends_on_next = attributes.text("END-ON-NEXT").is_some();
                if ends_on_next && attributes.text("CLASS").is_none() {
                    self.findings.error("hls 3.16", "#EXT-X-DATERANGE with END-ON-NEXT has no CLASS");
                }
            }
            _ => {}
        }
    }

    /// The house order of a segment's tags, and what must stand in front of all segments.
    fn check_order(&mut self, name: &str) {
        let past_first = !self.playlist.segments.is_empty() || self.pending.duration_us.is_some();
        let header = matches!(
            name,
            "EXT-X-VERSION"
                | "EXT-X-TARGETDURATION"
                | "EXT-X-INDEPENDENT-SEGMENTS"
                | "EXT-X-PLAYLIST-TYPE"
                | "EXT-X-START"
                | "EXT-X-SERVER-CONTROL"
                | "EXT-X-PART-INF"
        );
        if past_first && header {
            self.findings.notice("hls 3.18", format!("#{name} stands behind the first segment's tags"));
        }
        if self.playlist.ended && (ORDER.contains(&name)) {
            self.findings.notice("hls 3.14", format!("#{name} stands behind #EXT-X-ENDLIST"));
        }
        if !self.pending.parts.is_empty() && TAGS_BEFORE_PARTS.contains(&name) {
            // H 4.4.4.9
            let sequence = self.sequence();
            self.findings.error(
                "hls 5.4",
                format!("#{name} stands behind the first #EXT-X-PART of segment {sequence}"),
            );
        }
        let Some((place, own)) = ORDER.iter().copied().enumerate().find(|(_, tag)| *tag == name) else {
            return;
        };
        match self.pending.last {
            Some((last, before)) if last > place => {
                self.findings
                    .notice("hls 3.18", format!("#{own} stands behind #{before} of the same segment"));
            }
            _ => self.pending.last = Some((place, own)),
        }
    }

    fn media_sequence(&mut self, text: &str) {
        if !self.playlist.segments.is_empty() {
            // H 4.4.3.2
            self.findings.error("hls 3.3", "#EXT-X-MEDIA-SEQUENCE stands behind the first segment");
        }
        if self.has_media_sequence {
            // Reported as a repetition; the first counts, so that renumbering happens once at most.
            return;
        }
        self.has_media_sequence = true;
        self.playlist.media_sequence = decimal_integer(text).unwrap_or(0);
        let mut sequence = self.playlist.media_sequence;
        for segment in &mut self.playlist.segments {
            segment.sequence = sequence;
            sequence = sequence.saturating_add(1);
        }
    }

    fn discontinuity_sequence(&mut self, text: &str) {
        if !self.playlist.segments.is_empty() || self.pending.discontinuities > 0 {
            // H 4.4.3.3
            self.findings.error(
                "hls 3.10",
                "#EXT-X-DISCONTINUITY-SEQUENCE stands behind a segment or an #EXT-X-DISCONTINUITY",
            );
        }
        self.playlist.discontinuity_sequence = decimal_integer(text);
    }

    fn playlist_type(&mut self, text: &str) {
        if !matches!(text, "EVENT" | "VOD") {
            self.findings.error("hls 1.2", format!("#EXT-X-PLAYLIST-TYPE is {}", excerpt(text)));
        }
        self.playlist.playlist_type = Some(text.to_owned());
    }

    fn server_control(&mut self, attributes: &Attributes<'_>) {
        if attributes.text("CAN-SKIP-UNTIL").is_some() {
            let v2 = attributes.text("CAN-SKIP-DATERANGES") == Some("YES");
            self.skip_offer_version = if v2 { 10 } else { 9 };
        }
        self.playlist.server_control = Some(attributes.normalized());
    }

    fn part(&mut self, attributes: &Attributes<'_>) {
        if self.pending.duration_us.is_some() {
            let sequence = self.sequence();
            self.findings
                .notice("hls 3.18", format!("#EXT-X-PART stands behind #EXTINF of segment {sequence}"));
        }
        self.pending.parts.push(PartText::read(attributes, self.pending.parts.last()));
    }

    fn preload_hint(&mut self, attributes: &Attributes<'_>) {
        self.has_preload_hint = true;
        let uri = || attributes.text("URI").unwrap_or_default().to_owned();
        let (kind, repeated) = match attributes.text("TYPE") {
            Some("PART") => ("PART", self.playlist.hint.replace(HintText::read(attributes)).is_some()),
            Some("MAP") => ("MAP", self.playlist.map_hint.replace(uri()).is_some()),
            _ => return,
        };
        if repeated {
            // H 4.4.5.3
            self.findings.error("hls 5.8", format!("more than one #EXT-X-PRELOAD-HINT of TYPE={kind}"));
        }
    }

    fn extinf(&mut self, text: &str) {
        let sequence = self.sequence();
        if self.pending.duration_us.is_some() {
            self.findings.error("hls 3.2", format!("segment {sequence} has two #EXTINF in front of one URI"));
        }
        let duration = match text.split_once(',') {
            Some((duration, _title)) => duration,
            None => {
                self.findings.warning("hls 1.6", "#EXTINF has no comma behind the duration");
                text
            }
        };
        match decimal_micros(duration) {
            None => self.findings.error(
                "hls 1.6",
                format!("#EXTINF of segment {sequence} is {}, no number", excerpt(duration)),
            ),
            Some(0) => {
                self.findings.warning("hls 3.2", format!("segment {sequence} is 0 s long by its #EXTINF"));
            }
            Some(_) => {}
        }
        match decimals(duration) {
            0..=2 => self.findings.warning(
                "hls 1.6",
                format!("#EXTINF has {} decimals: rounding adds up to drift", decimals(duration)),
            ),
            3..=6 => {}
            more => self.findings.notice("hls 1.6", format!("#EXTINF has {more} decimals")),
        }
        if duration.contains('.') {
            self.needs(3, "decimal EXTINF");
        }
        self.pending.duration_us = Some(decimal_micros(duration).unwrap_or(0));
        self.pending.digit_us = digit_us(duration);
    }

    fn program_date_time(&mut self, text: &str) {
        self.has_date = true;
        let sequence = self.sequence();
        if self.pending.date.is_some() {
            self.findings.error("hls 3.12", format!("segment {sequence} has two #EXT-X-PROGRAM-DATE-TIME"));
        }
        match date_time(text) {
            None => self.findings.error(
                "hls 3.12",
                format!("#EXT-X-PROGRAM-DATE-TIME of segment {sequence} is {}", excerpt(text)),
            ),
            Some(date) => {
                if !date.zoned {
                    self.findings.warning("hls 3.12", "#EXT-X-PROGRAM-DATE-TIME names no time zone");
                }
                self.pending.date = Some(date);
            }
        }
    }

    fn key(&mut self, attributes: &Attributes<'_>) {
        let method = attributes.text("METHOD").unwrap_or("NONE");
        self.encrypted = method != "NONE";
        if self.encrypted && attributes.text("URI").is_none() {
            self.findings.error("hls 11.3", "#EXT-X-KEY has no URI");
        }
        if attributes.text("IV").is_some() {
            self.needs(2, "the IV attribute");
        }
        if method.starts_with("SAMPLE-AES") || attributes.any_starts_with("KEYFORMAT") {
            self.needs(5, "SAMPLE-AES or KEYFORMAT");
        }
    }

    fn uri(&mut self, uri: &str) {
        let sequence = self.sequence();
        let pending = std::mem::take(&mut self.pending);
        if pending.duration_us.is_none() {
            self.findings.error("hls 3.2", format!("segment {sequence} has no #EXTINF"));
        }
        let duration_us = pending.duration_us.unwrap_or(0);
        self.check_date(sequence, &pending, duration_us);
        let segment = self.segment(sequence, uri, duration_us, pending);
        self.playlist.segments.push(segment);
    }

    /// The segment whose tags were `pending`.
    fn segment(&mut self, sequence: u64, uri: &str, duration_us: u64, pending: Pending) -> SegmentText {
        let changed_map = self.playlist.segments.last().is_some_and(|last| last.map != self.map);
        if changed_map && pending.discontinuities == 0 {
            // H 3.1.2: a new initialization section is a change of format.
            self.findings.warning(
                "hls 3.15",
                format!("segment {sequence} has a new #EXT-X-MAP and no #EXT-X-DISCONTINUITY"),
            );
        }
        SegmentText {
            sequence,
            uri: uri.to_owned(),
            duration_us,
            discontinuities: pending.discontinuities,
            gap: pending.gap,
            program_date_time_us: pending.date.map(|date| date.unix_us),
            map: self.map.clone(),
            byte_range: pending.byte_range,
            encrypted: self.encrypted,
            parts: pending.parts,
            digit_us: pending.digit_us,
        }
    }

    /// Dates run on by EXTINF (H 4.4.4.6); a discontinuity may move them.
    fn check_date(&mut self, sequence: u64, pending: &Pending, duration_us: u64) {
        if pending.discontinuities > 0 {
            self.expected_date_us = None;
            if self.has_date && pending.date.is_none() {
                self.findings.warning(
                    "hls 3.12",
                    format!("segment {sequence} follows a discontinuity and has no #EXT-X-PROGRAM-DATE-TIME"),
                );
            }
        }
        if let (Some(date), Some(expected)) = (pending.date, self.expected_date_us) {
            let ahead_us = date.unix_us.saturating_sub(expected);
            let seconds = seconds_of_us(ahead_us.unsigned_abs());
            if ahead_us < -1_000_000 {
                // H 6.2.4 tolerates an overlap below a second.
                self.findings.error(
                    "hls 3.12",
                    format!("#EXT-X-PROGRAM-DATE-TIME goes back {seconds:.3} s at segment {sequence}"),
                );
            } else if ahead_us.unsigned_abs() > DATE_TOLERANCE_US {
                let direction = if ahead_us < 0 { "early" } else { "late" };
                self.findings.warning(
                    "hls 3.12",
                    format!(
                        "#EXT-X-PROGRAM-DATE-TIME of segment {sequence} is {seconds:.3} s {direction}, \
                         counted from the dates and #EXTINF before it"
                    ),
                );
            }
        }
        let start = pending.date.map(|date| date.unix_us).or(self.expected_date_us);
        self.expected_date_us =
            start.map(|start| start.saturating_add(i64::try_from(duration_us).unwrap_or(i64::MAX)));
    }

    fn finish(mut self) -> MediaText {
        self.check_trailer();
        self.edge();
        self.check_durations();
        self.check_live();
        self.check_version();
        low_latency::check(&self.playlist, self.findings);
        self.playlist
    }

    /// The parts behind the last segment and the tags in front of them (H 4.4.4.9).
    fn edge(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        if pending.parts.is_empty() {
            return;
        }
        let sequence = self.sequence();
        let duration_us = pending.parts.iter().fold(0, |sum: u64, part| sum.saturating_add(part.duration_us));
        self.check_date(sequence, &pending, duration_us);
        self.playlist.edge = Some(self.segment(sequence, "", duration_us, pending));
    }

    fn check_durations(&mut self) {
        let Some(target) = self.playlist.target_duration else {
            self.findings.error("hls 3.1", "#EXT-X-TARGETDURATION is missing or no number");
            return;
        };
        if target == 0 {
            self.findings.error("hls 3.1", "#EXT-X-TARGETDURATION is 0");
        }
        for segment in &self.playlist.segments {
            // H 4.4.3.1: rounded to the nearest integer, a half upwards.
            let rounded = segment.duration_us.saturating_add(500_000) / 1_000_000;
            if rounded > target {
                self.findings.error(
                    "hls 3.1",
                    format!(
                        "segment {} is {:.3} s long, which rounds to more than the target duration of {target} s",
                        segment.sequence,
                        seconds_of_us(segment.duration_us)
                    ),
                );
            }
        }
    }

    /// What a playlist that still grows must carry.
    fn check_live(&mut self) {
        let playlist_type = self.playlist.playlist_type.as_deref();
        if self.playlist.ended {
            if self.has_preload_hint {
                self.findings.error("hls 3.14", "#EXT-X-PRELOAD-HINT in a playlist with #EXT-X-ENDLIST");
            }
            return;
        }
        if playlist_type == Some("VOD") {
            self.findings.error("hls 3.8", "#EXT-X-PLAYLIST-TYPE is VOD and #EXT-X-ENDLIST is missing");
        }
        if !self.has_media_sequence && playlist_type.is_none() {
            self.findings.warning("hls 3.3", "a live playlist without #EXT-X-MEDIA-SEQUENCE");
        }
        let discontinuous = self.playlist.segments.iter().any(|segment| segment.discontinuities > 0);
        if discontinuous && self.playlist.discontinuity_sequence.is_none() {
            // A 8.17
            self.findings.warning("hls 3.10", "a discontinuity, and no #EXT-X-DISCONTINUITY-SEQUENCE");
        }
        if self.playlist.segments.first().is_some_and(|first| first.program_date_time_us.is_none()) {
            // A 8.4
            self.findings.warning(
                "hls 3.12",
                "the first segment has no #EXT-X-PROGRAM-DATE-TIME: players can't tell latency or align renditions",
            );
        }
        let target = self.playlist.target_duration.unwrap_or(0);
        if let Some((negative, offset_us)) = self.start_offset {
            let duration_us = self.playlist.duration_us();
            let from_end_us = if negative { offset_us } else { duration_us.saturating_sub(offset_us) };
            // H 4.4.2.2
            if from_end_us < target.saturating_mul(3_000_000) {
                self.findings
                    .warning("hls 3.17", "#EXT-X-START is less than 3 target durations from the end");
            }
        }
    }

    fn check_version(&mut self) {
        if self.has_map {
            // H 8: 5 is enough for a MAP among I-frames only.
            let version = if self.playlist.i_frames_only { 5 } else { 6 };
            self.needs(version, "EXT-X-MAP");
        }
        let version = self.playlist.version.unwrap_or(1);
        let VersionNeed { version: needed, reason } = self.need;
        if version < needed {
            self.findings.error("hls 2", format!("the version is {version} and {reason} needs {needed}"));
        } else if version > needed.max(self.skip_offer_version) && !self.playlist.segments.is_empty() {
            self.findings
                .warning("hls 2", format!("#EXT-X-VERSION is {version} and {needed} is enough ({reason})"));
        }
    }

    fn check_trailer(&mut self) {
        if self.pending.duration_us.is_some() {
            self.findings.error("hls 3.2", "the last #EXTINF has no URI behind it");
        } else if self.pending.parts.is_empty()
            && self.pending.last.is_some()
            && !self.playlist.is_low_latency()
        {
            // With parts, these are the tags of the segment in production (H 4.4.4.9).
            self.findings.warning("hls 3.18", "tags at the end belong to no segment");
        }
        if self.has_date_range && !self.has_date {
            self.findings.error("hls 3.16", "#EXT-X-DATERANGE without any #EXT-X-PROGRAM-DATE-TIME");
        }
        let fmp4 = |segment: &&SegmentText| {
            let path = segment.uri.split(['?', '#']).next().unwrap_or_default();
            segment.map.is_none() && [".m4s", ".mp4", ".cmfv", ".cmfa"].iter().any(|end| path.ends_with(end))
        };
        if let Some(segment) = self.playlist.segments.iter().find(fmp4) {
            let name = excerpt(&segment.uri);
            self.findings
                .error("hls 3.15", format!("{name} is named like fMP4 and no #EXT-X-MAP applies to it"));
        }
    }
}
