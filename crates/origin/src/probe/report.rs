//! What was found, and how it is told: grouped text for people, JSON for programs.

use std::io::{self, Write};

use headwater_manifest::hls::check::{Finding as PlaylistFinding, Severity};
use serde::Serialize;

/// Different findings kept per subject; a stream that has more is broken enough to be known.
const FINDINGS_MAX: usize = 200;
/// Examples of one rule and severity that are printed per subject; the rest is a number.
const EXAMPLES_MAX: usize = 3;

/// One thing that is wrong, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// `error`, `warning` or `notice`.
    #[serde(serialize_with = "severity_out")]
    pub(super) severity: Severity,
    /// The rule: page and clause of the project's checklists, e.g. `ts 1.4`.
    pub(super) rule: &'static str,
    /// What was seen.
    pub(super) message: String,
    /// What to do.
    pub(super) advice: &'static str,
    /// How often it was seen.
    pub(super) count: u64,
}

fn severity_out<S: serde::Serializer>(severity: &Severity, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(severity)
}

/// The findings about one subject: a playlist and its segments, or the presentation.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) findings: Vec<Finding>,
    left_off: u64,
}

impl Log {
    pub(super) fn error(&mut self, rule: &'static str, message: impl Into<String>) {
        self.add(Severity::Error, rule, message.into());
    }

    pub(super) fn warning(&mut self, rule: &'static str, message: impl Into<String>) {
        self.add(Severity::Warning, rule, message.into());
    }

    pub(super) fn notice(&mut self, rule: &'static str, message: impl Into<String>) {
        self.add(Severity::Notice, rule, message.into());
    }

    pub(super) fn extend(&mut self, findings: impl IntoIterator<Item = PlaylistFinding>) {
        for PlaylistFinding { severity, rule, message } in findings {
            self.add(severity, rule, message);
        }
    }

    pub(super) fn add(&mut self, severity: Severity, rule: &'static str, message: String) {
        let same =
            |have: &&mut Finding| have.severity == severity && have.rule == rule && have.message == message;
        if let Some(have) = self.findings.iter_mut().find(same) {
            have.count = have.count.saturating_add(1);
        } else if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Finding { severity, rule, message, advice: advice(rule), count: 1 });
        } else {
            self.left_off = self.left_off.saturating_add(1);
        }
    }
}

/// What one subject showed.
#[derive(Debug, Serialize)]
pub(super) struct Subject {
    /// Where it is.
    pub(super) url: String,
    /// What it is, e.g. `live MPEG-TS, 12 segments examined, ...`.
    pub(super) summary: String,
    /// What is wrong with it, worst first.
    pub(super) findings: Vec<Finding>,
    /// Findings past the limit.
    pub(super) findings_left_off: u64,
}

impl Subject {
    pub(super) fn new(url: &str, summary: String, log: Log) -> Subject {
        let Log { mut findings, left_off } = log;
        findings.sort_by(|a, b| b.severity.cmp(&a.severity).then(rule_key(a.rule).cmp(&rule_key(b.rule))));
        Subject { url: url.to_owned(), summary, findings, findings_left_off: left_off }
    }
}

/// A rule as it sorts: page, then numbers as numbers.
fn rule_key(rule: &str) -> (&str, Vec<u32>) {
    let (page, clause) = rule.split_once(' ').unwrap_or((rule, ""));
    (page, clause.split('.').map(|number| number.parse().unwrap_or(0)).collect())
}

/// All that a probe found.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// The URL that was probed.
    pub(super) url: String,
    /// How long it was followed, in seconds.
    pub(super) seconds: f64,
    /// Findings of severity `error`.
    pub(super) errors: u64,
    /// Findings of severity `warning`.
    pub(super) warnings: u64,
    /// Findings of severity `notice`.
    pub(super) notices: u64,
    /// Segments examined.
    pub(super) segments: u64,
    /// Bytes of segments fetched.
    pub(super) bytes: u64,
    /// The live edge behind the wall clock in seconds, by EXT-X-PROGRAM-DATE-TIME or by the MPD's times; the largest of
    /// all renditions.
    pub(super) latency_seconds: Option<f64>,
    /// Playlists, or the MPD and its Representations, each with what was found.
    pub(super) subjects: Vec<Subject>,
    /// What the subjects are, e.g. `2 playlists`.
    #[serde(skip)]
    pub(super) examined: String,
}

impl Report {
    pub(super) fn count(&mut self) {
        let of = |severity| {
            let findings = self.subjects.iter().flat_map(|subject| &subject.findings);
            findings.filter(|finding| finding.severity == severity).count() as u64
        };
        (self.errors, self.warnings, self.notices) =
            (of(Severity::Error), of(Severity::Warning), of(Severity::Notice));
    }

    /// The report as text: a block per subject, a line per finding, a summary line.
    ///
    /// # Errors
    /// Those of `out`.
    pub(super) fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        for subject in &self.subjects {
            writeln!(out, "{}", printable(&subject.url))?;
            writeln!(out, "  {}", subject.summary)?;
            write_findings(&subject.findings, out)?;
            if subject.findings_left_off > 0 {
                writeln!(out, "  and {} more findings that are not listed", subject.findings_left_off)?;
            }
            writeln!(out)?;
        }
        let latency = self
            .latency_seconds
            .map(|s| format!("; the live edge is {s:.1} s behind the clock"))
            .unwrap_or_default();
        writeln!(
            out,
            "{}, {}, {} in {}; {}, {:.1} MB, {:.0} s{latency}",
            counted(self.errors, "error"),
            counted(self.warnings, "warning"),
            counted(self.notices, "notice"),
            self.examined,
            counted(self.segments, "segment"),
            megabytes(self.bytes),
            self.seconds,
        )
    }
}

fn write_findings(findings: &[Finding], out: &mut dyn Write) -> io::Result<()> {
    let mut run = (None, 0);
    let mut left_off = 0_usize;
    for (index, finding) in findings.iter().enumerate() {
        let key = Some((finding.severity, finding.rule));
        run = if run.0 == key { (key, run.1 + 1) } else { (key, 1) };
        if run.1 <= EXAMPLES_MAX {
            let times = if finding.count > 1 { format!(" ({} times)", finding.count) } else { String::new() };
            let Finding { severity, rule, message, advice, .. } = finding;
            writeln!(out, "  {severity:<7} [{rule}] {message}{times}; {advice}")?;
        } else {
            left_off += 1;
        }
        let ends = findings.get(index + 1).is_none_or(|next| Some((next.severity, next.rule)) != key);
        if ends && left_off > 0 {
            writeln!(out, "  {:<7} [{}] and {left_off} more like it", finding.severity, finding.rule)?;
            left_off = 0;
        }
    }
    Ok(())
}

/// A URL made safe for a terminal: a stranger's playlist may hold escape sequences.
fn printable(url: &str) -> String {
    let mut shown = String::with_capacity(url.len());
    for c in url.chars() {
        if c.is_ascii() && !c.is_ascii_control() {
            shown.push(c);
        } else {
            shown.extend(c.escape_unicode());
        }
    }
    shown
}

/// `1 error`, `2 errors`.
pub(super) fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Bytes as megabytes, for printing.
pub(super) fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// What to do about a broken rule.
fn advice(rule: &str) -> &'static str {
    match rule {
        "hls 1" => "serve a smaller playlist",
        "hls 1.1" => "write plain UTF-8 that starts with #EXTM3U",
        "hls 1.2" => "write tags and attributes as 8216bis 4.2 and 4.4 define them",
        "hls 1.3" => "write each tag once, and only tags that players know",
        "hls 1.4" => "keep media and multivariant tags apart, and percent-encode URIs",
        "hls 1.5" => "end playlist paths in .m3u8 and send application/vnd.apple.mpegurl",
        "hls 1.6" => "write EXTINF with 3 to 6 decimals and a comma",
        "hls 1.7" => "answer 404 or hold the request until a segment exists",
        "hls 2" => "write the lowest EXT-X-VERSION that the tags need, and keep it",
        "hls 3.1" => {
            "choose one EXT-X-TARGETDURATION before the first segment, cut so that none rounds above it, never change it"
        }
        "hls 3.2" => "take EXTINF from media time and never change it",
        "hls 3.3" => "count segments by one and keep counting over reconnects and restarts",
        "hls 3.4" => "name a segment once and for ever",
        "hls 3.5" => "list at least 3 target durations, remove only from the front, publish in time",
        "hls 3.6" => "keep a segment for its duration plus the playlist's after it left the list",
        "hls 3.7" => "list a segment only once all of it can be fetched",
        "hls 3.8" => "leave EXT-X-PLAYLIST-TYPE and EXT-X-ALLOW-CACHE out of a live playlist",
        "hls 3.9" => "write one EXT-X-DISCONTINUITY per break",
        "hls 3.10" => {
            "add one to EXT-X-DISCONTINUITY-SEQUENCE when an EXT-X-DISCONTINUITY leaves, and only then"
        }
        "hls 3.11" => "decide on EXT-X-INDEPENDENT-SEGMENTS once",
        "hls 3.12" => {
            "write EXT-X-PROGRAM-DATE-TIME on every segment: a fixed wall-clock offset plus media time"
        }
        "hls 3.13" => "decide on EXT-X-GAP when the segment is first listed",
        "hls 3.14" => "write EXT-X-ENDLIST last and change nothing after it",
        "hls 3.15" => {
            "give every initialization section its own URI and announce it with EXT-X-DISCONTINUITY"
        }
        "hls 3.16" => "write date ranges as 8216bis 4.4.5.1 asks",
        "hls 3.17" => "keep EXT-X-START 3 target durations from the end",
        "hls 3.18" => "keep to the usual order of tags",
        "hls 4" | "hls 4.1" => "describe every variant fully: bandwidths, codecs, resolution, frame rate",
        "hls 4.2" => "announce the measured peak with a margin, and the average",
        "hls 4.3" => "hold the first multivariant playlist until it is right, then keep it",
        "hls 4.4" | "hls 4.5" | "hls 4.6" => "make groups and their references agree with 8216bis 4.4.6",
        "hls 4.7" => "leave RESOLUTION out of audio-only variants",
        "hls 4.9" | "hls 4.10" => "write the codec string of the configuration record",
        "hls 5.1" => {
            "give all renditions one constant EXT-X-SERVER-CONTROL, with hold-backs that the targets allow"
        }
        "hls 5.2" => "choose one PART-TARGET, and cut parts of 85 to 100 % of it",
        "hls 5.3" => "mark the parts that start with a key frame, one in every segment at least",
        "hls 5.4" => "write the tags that apply to a segment in front of its first part",
        "hls 5.5" => "make a segment of exactly the parts that were listed, and never change them",
        "hls 5.6" => "list the parts of the last 3 target durations",
        "hls 5.7" => "publish a part every part target",
        "hls 5.8" => "hint at the part that comes next, always, by the URI that it will have",
        "hls 5.10" => "report every other rendition, as far as it is listed there",
        "hls 6" => "send delta updates only to _HLS_skip",
        "hls 6.2" => {
            "skip only what is older than CAN-SKIP-UNTIL, and send the full playlist when nothing is"
        }
        "hls 9.4" => "start media time of a reconnect where the last sample ended",
        "hls 11.3" => "name the key",
        "cmaf 1" | "hls 5.9" | "hls 11" => "look at it with another tool",
        "cmaf 1.1" => "put one track into a file, keep its track_ID, and fill every segment with it",
        "cmaf 2" => "list iso6 or a later brand in ftyp, and write every box of a track",
        "cmaf 2.1" => "write ftyp and moov, with mvex and a trex per track, and no samples",
        "cmaf 2.3" => "write the configuration record of the coding into its sample entry",
        "cmaf 2.4" => "write the parameter sets into the sample entry",
        "cmaf 3" => "write moof (mfhd, traf with default-base-is-moof) and mdat in pairs",
        "cmaf 3.1" => "write one trun per traf, with its data offset, that accounts for all of mdat",
        "cmaf 3.3" => "start every tfdt where the durations before it end, and never reset it",
        "cmaf 3.6" => "give every sample a duration",
        "cmaf 3.10" => "put ftyp and moov only into the init segment",
        "cmaf 4.1" => "cut at IDR pictures, and mark them as sync samples",
        "cmaf 4.3" => "cut all renditions at the same media time and number them alike",
        "cmaf 8.2" => "check the sizes and offsets that the packager writes",
        "dash 4.3" | "dash 4.4" => {
            "name a segment once and for ever, the same number at the same time everywhere"
        }
        "dash 5" => {
            "keep to the live profile: attributes that are there and true, @publishTime that follows the content"
        }
        "dash 5.1" => {
            "announce a segment once it can be fetched, and keep it for @timeShiftBufferDepth and its duration"
        }
        "dash 5.2" => {
            "take S@t and S@d from the media, list only what exists, and change nothing that was listed"
        }
        "dash 5.3" => "use SegmentTimeline unless every segment has its nominal duration",
        "dash 5.4" => "write either @duration or SegmentTimeline, with known identifiers in templates",
        "dash 5.5" => "set @presentationTimeOffset to the media time that the Period starts at",
        "dash 5.6" => "describe every Representation fully, with the coding that the file has",
        "dash 5.7" => "begin a new Period with a new @id at every break, and change nothing of earlier ones",
        "dash 5.8" => "offer an absolute UTCTiming http-iso URL of a server whose clock is right",
        "dash 5.9" => "end with a static MPD that has a duration and no @minimumUpdatePeriod",
        "dash 5.11" => "send application/dash+xml",
        "dash 8.1" => "write XML that the MPD schema accepts",
        "http 1.5" => "redirect no media and set no cookies on it",
        "http 2.1" => "send an explicit Cache-Control with every answer",
        "http 2" => "cache segments long, live playlists half a target duration",
        "http 3.1" | "http 3.2" => "send strong ETags and answer If-None-Match with 304",
        "http 5.1" => "send Content-Length with everything complete",
        "http 6.9" => "answer 404 with max-age=1: a cached 404 freezes the live edge",
        "http 7" => "answer every listed URL with 200",
        "http 8" => "send the content type of the file's kind",
        "http 10.1" => "send Access-Control-Allow-Origin: * with every answer, errors and 304 included",
        "http 10.3" => "expose Date, Age and Content-Length through Access-Control-Expose-Headers",
        "http 11.1" => "compress playlists for clients that accept gzip, and never media",
        "ts 1.1" => "start every segment with PAT and PMT",
        "ts 1.2" => "write whole packets of 188 bytes that start with 0x47",
        "ts 1.3" => "cut at IDR pictures",
        "ts 1.4" => "keep one muxer for the stream's life: counters and timestamps run on over segments",
        "ts 1.5" => "leave null packets out",
        "ts 1.6" => "cut audio at the video's border",
        "ts 2.1" => "count every packet with payload by one, per PID",
        "ts 2.6" => "set random_access_indicator at keyframes",
        "ts 3.6" => "write PCR on the video PID, or the audio PID without video",
        "ts 5.3" => "give every PES packet a PTS",
        "ts 6.2" => "count audio time in samples, not in rounded milliseconds",
        "ts 6.6" => "keep DTS increasing and PTS at or behind it",
        "ts 6.7" => "write PCR every 100 ms and below every DTS that follows",
        "ts 6.8" => "leave no hole of more than 0.7 s",
        "ts 7.2" => "start every access unit with an access unit delimiter",
        "ts 7.3" => "write SPS and PPS before every IDR picture",
        _ => "see the rule",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_groups_counts_and_shortens() {
        let mut log = Log::default();
        for n in 0..5 {
            log.warning("ts 2.1", format!("packet {n}"));
        }
        log.warning("ts 2.1", "packet 0");
        log.notice("hls 3.18", "order");
        log.error("hls 3.10", "ten");
        log.error("hls 3.9", "nine");
        let subject = Subject::new("http://example.org/a.m3u8", "live".to_owned(), log);
        let mut report = Report {
            url: String::new(),
            seconds: 20.4,
            errors: 0,
            warnings: 0,
            notices: 0,
            segments: 1,
            bytes: 1_250_000,
            latency_seconds: Some(4.25),
            subjects: vec![subject],
            examined: "1 playlist".to_owned(),
        };
        report.count();
        let mut text = Vec::new();
        report.write_text(&mut text).unwrap();
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "http://example.org/a.m3u8\n  live\n  \
             error   [hls 3.9] nine; write one EXT-X-DISCONTINUITY per break\n  \
             error   [hls 3.10] ten; add one to EXT-X-DISCONTINUITY-SEQUENCE when an EXT-X-DISCONTINUITY leaves, and only then\n  \
             warning [ts 2.1] packet 0 (2 times); count every packet with payload by one, per PID\n  \
             warning [ts 2.1] packet 1; count every packet with payload by one, per PID\n  \
             warning [ts 2.1] packet 2; count every packet with payload by one, per PID\n  \
             warning [ts 2.1] and 2 more like it\n  \
             notice  [hls 3.18] order; keep to the usual order of tags\n\n\
             2 errors, 5 warnings, 1 notice in 1 playlist; 1 segment, 1.2 MB, 20 s; the live edge is 4.2 s behind the clock\n"
        );
    }

    #[test]
    fn a_log_is_bounded() {
        let mut log = Log::default();
        for n in 0..1_000 {
            log.error("ts 2.1", n.to_string());
        }
        assert_eq!((log.findings.len(), log.left_off), (FINDINGS_MAX, 800));
    }
}
