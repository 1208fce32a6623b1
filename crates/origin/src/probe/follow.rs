//! One media playlist followed as a player would: polled, its new segments fetched once each and examined.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use headwater_manifest::hls::check::{Checker, MediaText, SegmentText, excerpt};

use super::alignment::{STARTS_MAX, Start};
use super::fmp4::{Announced, Declared, Fmp4Examiner, SegmentInfo as Fmp4SegmentInfo};
use super::http::{Answer, Fetcher, Kind, check_head, check_not_found, check_revalidation};
use super::low_latency::Tried;
use super::report::{Log, counted, megabytes};
use super::ts::{SegmentInfo, TsExaminer};
use super::url::resolve;

/// Where a live playlist is joined: three segments from its end, as players do.
const JOIN_SEGMENTS: u64 = 3;
/// Between two requests of the playlist: half a target duration, as hls.js does, within these.
const POLL_MIN: Duration = Duration::from_millis(250);
/// A target duration of more than 10 s is rare, and a change should be seen soon.
const POLL_MAX: Duration = Duration::from_secs(5);
/// Requests of a playlist that may fail in a row before the rendition is given up.
const FAILURES_MAX: u32 = 5;
/// Playlists above this are not read a second time: that parser's cost is not known to be linear.
const SECOND_READER_BYTES_MAX: usize = 1 << 20;

/// A media playlist to follow.
#[derive(Debug, Clone, Default)]
pub(super) struct Rendition {
    pub(super) url: String,
    /// BANDWIDTH of its variant in bit/s.
    pub(super) bandwidth: Option<u64>,
    /// CODECS and RESOLUTION of the variants that it is part of.
    pub(super) declared: Declared,
}

/// What following showed.
#[derive(Debug)]
pub(super) struct Followed {
    pub(super) url: String,
    pub(super) log: Log,
    pub(super) media: Option<MediaText>,
    pub(super) segments: u64,
    pub(super) bytes: u64,
    /// Of the last version that told, in seconds.
    pub(super) latency_seconds: Option<f64>,
    /// Where its fMP4 segments stand in time, up to [`STARTS_MAX`].
    pub(super) starts: Vec<Start>,
    /// Codecs of the last init segment.
    content: Option<String>,
    peak_bps: u64,
    versions: u64,
    tried: Tried,
}

impl Followed {
    /// One line on what it is.
    pub(super) fn summary(&self) -> String {
        let Some(media) = &self.media else { return "no playlist could be read".to_owned() };
        let kind = if media.ended { "ended" } else { "live" };
        let content = self.content.as_ref().map(|content| format!(" {content}")).unwrap_or_default();
        let latency =
            self.latency_seconds.map(|s| format!(", live edge {s:.1} s behind")).unwrap_or_default();
        let tried: String = [(self.tried.deltas, "delta update"), (self.tried.reports, "rendition report")]
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!(", {} compared", counted(count, what)))
            .collect();
        format!(
            "{kind}{content}, target duration {} s, {} listed, {} and {} examined{tried}, peak {:.2} Mbit/s{latency}",
            media.target_duration.unwrap_or(0),
            counted(media.segments.len() as u64, "segment"),
            counted(self.versions, "version"),
            counted(self.segments, "segment"),
            megabytes(self.peak_bps),
        )
    }
}

/// Runs a third party's parser over a stranger's bytes: its panic is a finding, not the end. `None` when it panicked.
pub(super) fn second_reader<T>(read: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(read)).ok()
}

/// Follows `rendition` until it ends or `deadline`; `first` is its first answer where there is one already.
pub(super) fn follow(
    fetcher: &Fetcher,
    rendition: &Rendition,
    first: Option<Answer>,
    deadline: Instant,
) -> Followed {
    let mut follower = Follower {
        fetcher,
        rendition,
        checker: Checker::new(&rendition.url),
        ts: TsExaminer::default(),
        fmp4: Fmp4Examiner::default(),
        map: None,
        fmp4_next: None,
        discontinuity: 0,
        begun: Instant::now(),
        next_sequence: None,
        head_checked: false,
        segment_head_checked: false,
        removed_checked: false,
        followed: Followed {
            url: rendition.url.clone(),
            log: Log::default(),
            media: None,
            segments: 0,
            bytes: 0,
            latency_seconds: None,
            starts: Vec::new(),
            content: None,
            peak_bps: 0,
            versions: 0,
            tried: Tried::default(),
        },
    };
    follower.run(first, deadline);
    follower.ts.finish(&mut follower.followed.log);
    follower.followed.content = follower.fmp4.describe();
    follower.followed.media = follower.checker.media().cloned();
    follower.followed
}

struct Follower<'a> {
    fetcher: &'a Fetcher,
    rendition: &'a Rendition,
    checker: Checker,
    ts: TsExaminer,
    fmp4: Fmp4Examiner,
    /// URL of the init segment that was fetched last, whether it came or not.
    map: Option<String>,
    /// The number that continues the last fMP4 segment examined.
    fmp4_next: Option<u64>,
    /// EXT-X-DISCONTINUITY tags passed since following began.
    discontinuity: u64,
    begun: Instant,
    next_sequence: Option<u64>,
    head_checked: bool,
    segment_head_checked: bool,
    removed_checked: bool,
    followed: Followed,
}

impl Follower<'_> {
    fn run(&mut self, mut first: Option<Answer>, deadline: Instant) {
        let mut failures = 0;
        loop {
            let asked_at = Instant::now();
            let answer = match first.take() {
                Some(answer) => Ok(answer),
                None => self.fetcher.playlist(&self.rendition.url),
            };
            match answer {
                Ok(answer) if answer.status == 200 => {
                    failures = 0;
                    self.playlist(&answer, deadline);
                }
                Ok(answer) => {
                    failures += 1;
                    self.followed
                        .log
                        .error("http 7", format!("the playlist was answered with {}", answer.status));
                }
                Err(error) => {
                    failures += 1;
                    self.followed.log.error("http 7", format!("the playlist could not be fetched: {error}"));
                }
            }
            let ended = self.checker.media().is_some_and(|media| media.ended);
            let next = asked_at + self.poll_interval();
            // A multivariant playlist among the media playlists was reported; polling it shows nothing.
            let hopeless =
                failures >= FAILURES_MAX || (self.followed.versions > 0 && self.checker.media().is_none());
            if ended || hopeless || next >= deadline {
                return;
            }
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
    }

    fn poll_interval(&self) -> Duration {
        let target = self.checker.media().and_then(|media| media.target_duration).unwrap_or(2);
        Duration::from_millis(target.min(3_600) * 500).clamp(POLL_MIN, POLL_MAX)
    }

    /// One version of the playlist, and the segments it added.
    fn playlist(&mut self, answer: &Answer, deadline: Instant) {
        self.followed.versions += 1;
        let text = match std::str::from_utf8(&answer.body) {
            Ok(text) => text.into(),
            Err(error) => {
                let at = error.valid_up_to();
                self.followed.log.error("hls 1.1", format!("the playlist is no UTF-8 at byte {at}"));
                String::from_utf8_lossy(&answer.body)
            }
        };
        let removed = self.checker.media().and_then(|before| before.segments.first()).cloned();
        let at_ms = i64::try_from((answer.received_at - self.begun).as_millis()).unwrap_or(i64::MAX);
        self.followed.log.extend(self.checker.observe(&text, at_ms));
        let Some(media) = self.checker.media().cloned() else { return };
        self.second_opinion(&answer.body, &media);
        self.latency(&media);
        if !self.head_checked {
            self.head_checked = true;
            let kind = if media.ended { Kind::Ended } else { Kind::Live(media.target_duration.unwrap_or(0)) };
            check_head(answer, kind, &mut self.followed.log);
            check_revalidation(self.fetcher, answer, kind, &mut self.followed.log);
            let fmp4 = media.segments.iter().any(|segment| segment.map.is_some());
            let extension = if fmp4 { "m4s" } else { "ts" };
            check_not_found(self.fetcher, &answer.url, extension, &mut self.followed.log);
        }
        if let Some(removed) = removed.filter(|removed| removed.sequence < media.media_sequence) {
            self.removed(&removed, &answer.url);
        }
        if Instant::now() < deadline {
            let Followed { tried, log, .. } = &mut self.followed;
            tried.version(self.fetcher, &answer.url, &text, &media, log);
        }
        self.new_segments(&media, &answer.url, deadline);
    }

    /// The same text read by m3u8-rs.
    fn second_opinion(&mut self, body: &[u8], media: &MediaText) {
        if body.len() > SECOND_READER_BYTES_MAX {
            return;
        }
        let log = &mut self.followed.log;
        match second_reader(|| m3u8_rs::parse_media_playlist(body).map(|(_, playlist)| playlist)) {
            None | Some(Err(_)) => log.warning("hls 1.2", "m3u8-rs can't read the playlist"),
            Some(Ok(playlist)) => {
                let uris = playlist.segments.iter().map(|segment| segment.uri.as_str());
                if playlist.media_sequence != media.media_sequence
                    || !uris.eq(media.segments.iter().map(|segment| segment.uri.as_str()))
                {
                    log.warning(
                        "hls 1.2",
                        "m3u8-rs reads other segments than are written: the tags are ambiguous",
                    );
                }
            }
        }
    }

    /// The live edge by its date: when the last segment's last sample was taken, against the clock here.
    fn latency(&mut self, media: &MediaText) {
        if media.ended {
            return;
        }
        let mut end_us: Option<i64> = None;
        for segment in &media.segments {
            let start = segment.program_date_time_us.or(end_us);
            end_us = start.and_then(|start| start.checked_add(i64::try_from(segment.duration_us).ok()?));
        }
        let Some(end_us) = end_us else { return };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_us = i64::try_from(now.as_micros()).unwrap_or(i64::MAX);
        let behind = Duration::from_micros(now_us.saturating_sub(end_us).unsigned_abs()).as_secs_f64();
        if end_us > now_us {
            if behind > 1.0 {
                self.followed.log.warning(
                    "hls 3.12",
                    "the live edge's #EXT-X-PROGRAM-DATE-TIME lies in the future, or the clock here is late",
                );
            }
            self.followed.latency_seconds = Some(0.0);
        } else {
            self.followed.latency_seconds = Some(behind);
        }
    }

    /// A segment that just left the list must still be there (8216bis 6.2.2).
    fn removed(&mut self, segment: &SegmentText, base: &str) {
        if self.removed_checked || segment.gap {
            return;
        }
        let Some(url) = resolve(base, &segment.uri) else { return };
        self.removed_checked = true;
        if let Ok(answer) = self.fetcher.media(&url)
            && !matches!(answer.status, 200 | 206)
        {
            let status = answer.status;
            self.followed
                .log
                .error("hls 3.6", format!("a segment that just left the list is answered with {status}"));
        }
    }

    fn new_segments(&mut self, media: &MediaText, base: &str, deadline: Instant) {
        let join = if media.ended {
            media.media_sequence
        } else {
            media.end_sequence().saturating_sub(JOIN_SEGMENTS).max(media.media_sequence)
        };
        let next = match self.next_sequence {
            // Numbers that restarted: reported by the checker; join anew.
            Some(next) if next > media.end_sequence() => join,
            Some(next) => next.max(media.media_sequence),
            None => join,
        };
        self.next_sequence = Some(next);
        for segment in media.segments.iter().filter(|segment| segment.sequence >= next) {
            if Instant::now() >= deadline {
                return;
            }
            self.next_sequence = Some(segment.sequence.saturating_add(1));
            self.segment(segment, media, base);
        }
    }

    fn segment(&mut self, segment: &SegmentText, media: &MediaText, base: &str) {
        let sequence = segment.sequence;
        self.discontinuity = self.discontinuity.saturating_add(segment.discontinuities);
        let log = &mut self.followed.log;
        if segment.gap {
            return;
        }
        if segment.byte_range {
            log.notice("hls 5.9", "byte ranges are not examined");
            return;
        }
        let Some(url) = resolve(base, &segment.uri) else {
            log.error("hls 1.4", format!("{} is no URI that can be fetched", excerpt(&segment.uri)));
            return;
        };
        let answer = match self.fetcher.media(&url) {
            Ok(answer) if answer.status == 200 => answer,
            Ok(answer) => {
                log.error(
                    "hls 3.7",
                    format!("segment {sequence} is listed and answered with {}", answer.status),
                );
                return;
            }
            Err(error) => {
                log.error(
                    "hls 3.7",
                    format!("segment {sequence} is listed and could not be fetched: {error}"),
                );
                return;
            }
        };
        self.followed.segments += 1;
        self.followed.bytes += answer.body.len() as u64;
        if !self.segment_head_checked {
            self.segment_head_checked = true;
            check_head(&answer, Kind::Segment, log);
            check_revalidation(self.fetcher, &answer, Kind::Segment, log);
        }
        self.bit_rate(segment, media, answer.body.len());
        self.examine(segment, media, base, &answer.body);
    }

    fn examine(&mut self, segment: &SegmentText, media: &MediaText, base: &str, body: &[u8]) {
        let log = &mut self.followed.log;
        let boxes = matches!(
            body.get(4..8),
            Some(b"ftyp" | b"styp" | b"moof" | b"sidx" | b"emsg" | b"prft" | b"moov")
        );
        if segment.encrypted {
            log.notice("hls 11", "encrypted segments are not examined");
        } else if let Some(map) = &segment.map {
            self.init(map, base);
            self.fmp4(segment, media, body);
        } else if boxes {
            // 8216bis 3.1.2
            log.error("hls 3.15", format!("segment {} is fMP4 and no #EXT-X-MAP applies", segment.sequence));
        } else if body.starts_with(b"ID3") || matches!(body, [0xff, second, ..] if second & 0xf6 == 0xf0) {
            log.notice("ts 9.1", "packed audio is not examined");
        } else if body.starts_with(b"WEBVTT") {
            log.notice("hls 4.5", "subtitles are not examined");
        } else {
            let info = SegmentInfo {
                sequence: segment.sequence,
                duration_us: segment.duration_us,
                discontinuity: segment.discontinuities > 0,
                independent: media.independent_segments,
            };
            self.ts.segment(&info, body, log);
        }
    }

    /// Fetches the init segment when it is another than the last one.
    fn init(&mut self, map: &str, base: &str) {
        let log = &mut self.followed.log;
        let Some(url) = resolve(base, map) else {
            log.error("hls 1.4", format!("{} is no URI that can be fetched", excerpt(map)));
            return;
        };
        if self.map.as_ref() == Some(&url) {
            return;
        }
        let answer = self.fetcher.media(&url);
        let first = self.map.replace(url).is_none();
        self.fmp4.init_lost();
        match answer {
            Ok(answer) if answer.status == 200 => {
                if first {
                    check_head(&answer, Kind::Init, log);
                    check_revalidation(self.fetcher, &answer, Kind::Init, log);
                }
                self.fmp4.init(&answer.body, &self.rendition.declared, log);
            }
            Ok(answer) => {
                log.error("hls 3.15", format!("the init segment is answered with {}", answer.status));
            }
            Err(error) => log.error("hls 3.15", format!("the init segment could not be fetched: {error}")),
        }
    }

    fn fmp4(&mut self, segment: &SegmentText, media: &MediaText, body: &[u8]) {
        let sequence = segment.sequence;
        let info = Fmp4SegmentInfo {
            place: format!("segment {sequence}"),
            discontinuity: segment.discontinuities > 0 || self.fmp4_next != Some(sequence),
            independent: media.independent_segments.then_some("#EXT-X-INDEPENDENT-SEGMENTS"),
            duration: Announced {
                us: i128::from(segment.duration_us),
                by: "#EXTINF",
                rule: "hls 3.2",
                nominal: false,
            },
            date_us: segment.program_date_time_us,
            start: None,
        };
        self.fmp4_next = sequence.checked_add(1);
        let standing = self.fmp4.segment(&info, body, &mut self.followed.log);
        if let Some(standing) = standing.filter(|_| self.followed.starts.len() < STARTS_MAX) {
            let date_us = segment.program_date_time_us;
            self.followed.starts.push(Start {
                sequence,
                discontinuity: self.discontinuity,
                date_us,
                standing,
            });
        }
    }

    /// 8216bis 4.1: the peak counts runs of half a target duration and more; single segments of that length here.
    fn bit_rate(&mut self, segment: &SegmentText, media: &MediaText, bytes: usize) {
        let half_target_us = media.target_duration.unwrap_or(0).saturating_mul(500_000);
        if segment.duration_us == 0 || segment.duration_us < half_target_us {
            return;
        }
        let bps = u128::from(bytes as u64) * 8_000_000 / u128::from(segment.duration_us);
        let bps = u64::try_from(bps).unwrap_or(u64::MAX);
        self.followed.peak_bps = self.followed.peak_bps.max(bps);
        let Some(bandwidth) = self.rendition.bandwidth.filter(|bandwidth| *bandwidth > 0) else { return };
        let percent = u128::from(bps) * 100 / u128::from(bandwidth);
        if percent > 100 {
            let sequence = segment.sequence;
            let message = format!("segment {sequence} has {bps} bit/s, {percent} % of BANDWIDTH={bandwidth}");
            // A 1.28: a measured peak of 125 % is where it stops being tolerable.
            if percent > 125 {
                self.followed.log.error("hls 4.2", message);
            } else {
                self.followed.log.warning("hls 4.2", message);
            }
        }
    }
}
