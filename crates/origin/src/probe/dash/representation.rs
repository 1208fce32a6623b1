//! One Representation followed over the versions and Periods of an MPD: its new segments fetched once each and examined.

use std::time::{Duration, Instant};

use headwater_manifest::dash::check::{MpdText, RepresentationText, SegmentTemplateText};
use headwater_manifest::hls::check::excerpt;

use super::super::alignment::{STARTS_MAX, Start};
use super::super::fmp4::{Announced, Declared, Fmp4Examiner, SegmentInfo};
use super::super::http::{Answer, Fetcher, Kind, check_head, check_revalidation};
use super::super::report::{Log, counted, megabytes};
use super::super::url::resolve;
use super::announced::{Segment, Span, join, segments};
use super::clock::Clock;

/// Segments of one look at an MPD.
const BATCH: usize = 64;
/// Live, this many segments behind the edge the oldest are left out: a player would jump too.
const CATCH_UP_MAX: usize = 16;
/// Longest wait for a segment that is announced before its time; longer ones are looked at with the next version.
const EARLY_MAX: Duration = Duration::from_secs(10);
/// A segment that is not there at its time is asked for once more after this, to tell late from missing.
const SECOND_TRY: Duration = Duration::from_millis(500);

/// What following showed.
#[derive(Debug, Default)]
pub(super) struct Followed {
    pub(super) id: String,
    /// Where the init segment is; empty when there was none.
    pub(super) url: String,
    pub(super) log: Log,
    pub(super) segments: u64,
    pub(super) bytes: u64,
    pub(super) starts: Vec<Start>,
    content_type: String,
    content: Option<String>,
    peak_bps: u64,
}

impl Followed {
    /// One line on what it is.
    pub(super) fn summary(&self) -> String {
        let content = self.content.as_ref().map(|content| format!(" {content}")).unwrap_or_default();
        format!(
            "Representation {}: {}{content}, {} examined, peak {:.2} Mbit/s",
            excerpt(&self.id),
            excerpt(&self.content_type),
            counted(self.segments, "segment"),
            megabytes(self.peak_bps),
        )
    }
}

/// Follows one Representation by its id.
pub(super) struct Follower<'a> {
    fetcher: &'a Fetcher,
    clock: Clock,
    deadline: Instant,
    examiner: Fmp4Examiner,
    init_url: Option<String>,
    /// Start of the Period, and the time that the next segment has at least.
    position: Option<(i64, u64)>,
    /// Start of the Period and end of the last segment that was examined.
    last: Option<(i64, u64)>,
    /// Periods passed.
    periods: u64,
    segment_head_checked: bool,
    followed: Followed,
}

/// What a segment is part of.
struct Context<'m> {
    mpd: &'m MpdText,
    base: &'m str,
    representation: &'m RepresentationText,
    template: &'m SegmentTemplateText,
    span: Span,
}

impl Context<'_> {
    fn nominal(&self) -> bool {
        self.template.timeline.is_none()
    }

    /// A URL of the Representation, against its BaseURLs.
    fn url(&self, reference: &str) -> Option<String> {
        let levels = self.representation.base_urls.iter().map(|url| url.trim());
        levels.chain([reference]).try_fold(self.base.to_owned(), |base, reference| resolve(&base, reference))
    }
}

impl<'a> Follower<'a> {
    /// Of the Representation `id`.
    pub(super) fn new(fetcher: &'a Fetcher, id: &str, clock: Clock, deadline: Instant) -> Follower<'a> {
        Follower {
            fetcher,
            clock,
            deadline,
            examiner: Fmp4Examiner::default(),
            init_url: None,
            position: None,
            last: None,
            periods: 0,
            segment_head_checked: false,
            followed: Followed { id: id.to_owned(), ..Followed::default() },
        }
    }

    pub(super) fn finish(mut self) -> Followed {
        self.followed.content = self.examiner.describe();
        self.followed
    }

    /// The segments that `mpd`, fetched from `base`, announces and that were not fetched yet.
    pub(super) fn version(&mut self, mpd: &MpdText, base: &str) {
        let id = self.followed.id.clone();
        let found: Vec<_> = mpd
            .periods
            .iter()
            .enumerate()
            .filter_map(|(index, period)| {
                let set = period.adaptation_sets.iter().find_map(|set| {
                    Some((set, set.representations.iter().find(|representation| representation.id == id)?))
                });
                let (set, representation) = set?;
                Some((Span::of(mpd, index, period), set, representation))
            })
            .collect();
        for (index, (span, set, representation)) in found.iter().enumerate() {
            if self.followed.content_type.is_empty() {
                self.followed.content_type.clone_from(&set.content_type);
            }
            // Without one, the checker has said so.
            let Some(template) = representation.template.as_deref() else { continue };
            let context = Context { mpd, base, representation, template, span: *span };
            let newest = index + 1 == found.len();
            let from = match self.position {
                None if mpd.dynamic && !newest => continue,
                None if mpd.dynamic => join(template, span, self.clock.now_us()),
                None => Some(0),
                Some((start, _)) if start > span.start_us => continue,
                Some((start, next)) if start == span.start_us => Some(next),
                Some(_) => Some(0),
            };
            let Some(from) = from else { continue };
            if self.position.is_none_or(|(start, _)| start != span.start_us) {
                self.period(&context);
            }
            self.position = Some((span.start_us, from));
            self.catch_up(&context);
        }
    }

    /// A Period begins.
    fn period(&mut self, context: &Context<'_>) {
        self.periods = self.periods.saturating_add(1);
        self.last = None;
        self.init(context);
        let log = &mut self.followed.log;
        if context.nominal() && context.template.duration.is_none() {
            log.notice("dash 5.4", "SegmentTemplate has neither SegmentTimeline nor @duration: not examined");
        } else if context.nominal()
            && segments(context.template, &context.span, 0, self.clock.now_us(), 1).is_empty()
            && !context.mpd.dynamic
        {
            log.notice(
                "dash 5.3",
                "no end of the Period is known, so neither are its segments: not examined",
            );
        }
    }

    fn catch_up(&mut self, context: &Context<'_>) {
        let start_us = context.span.start_us;
        while Instant::now() < self.deadline {
            let Some((_, from)) = self.position else { return };
            let mut batch = segments(context.template, &context.span, from, self.clock.now_us(), BATCH);
            if context.mpd.dynamic && batch.len() > CATCH_UP_MAX {
                batch.drain(..batch.len() - CATCH_UP_MAX);
            }
            if batch.is_empty() {
                return;
            }
            for segment in batch {
                if Instant::now() >= self.deadline || !self.await_availability(context, segment) {
                    return;
                }
                let next = segment.t.saturating_add(segment.d.max(1));
                self.position = Some((start_us, next));
                self.segment(context, segment);
                if next == u64::MAX {
                    return;
                }
            }
        }
    }

    /// Waits until the segment has to be there. False when that is too far off.
    fn await_availability(&self, context: &Context<'_>, segment: Segment) -> bool {
        let Some(at_us) = context.span.available_at_us(context.template, segment) else { return true };
        let early_us = at_us.saturating_sub(self.clock.now_us());
        let early = Duration::from_micros(u64::try_from(early_us).unwrap_or(0));
        if early > EARLY_MAX || Instant::now().checked_add(early).is_none_or(|at| at >= self.deadline) {
            return false;
        }
        std::thread::sleep(early);
        true
    }

    /// Fetches the init segment when it is another than the last one.
    fn init(&mut self, context: &Context<'_>) {
        self.examiner.reset();
        let log = &mut self.followed.log;
        let Some(reference) = context.representation.initialization() else {
            self.examiner.init_lost();
            log.notice(
                "dash 5.4",
                "there is no @initialization that can be expanded: segments are only fetched",
            );
            return;
        };
        let Some(url) = context.url(&reference) else {
            log.error("dash 5.4", format!("{} is no URL that can be fetched", excerpt(&reference)));
            return;
        };
        if self.init_url.as_ref() == Some(&url) {
            return;
        }
        let answer = self.fetcher.media(&url);
        self.followed.url.clone_from(&url);
        let first = self.init_url.replace(url).is_none();
        self.examiner.init_lost();
        match answer {
            Ok(answer) if answer.status == 200 => {
                if first {
                    check_head(&answer, Kind::Init, log);
                    check_revalidation(self.fetcher, &answer, Kind::Init, log);
                }
                if is_mp4(context.representation, &answer) {
                    self.examiner.init(&answer.body, &declared(context.representation), log);
                    if self.examiner.track_count() > 1 {
                        let count = self.examiner.track_count();
                        log.warning(
                            "cmaf 1.1",
                            format!("the file has {count} tracks; DASH players expect one"),
                        );
                    }
                } else {
                    let mime_type = excerpt(context.representation.mime_type.as_deref().unwrap_or_default());
                    log.notice("cmaf 1", format!("media of type {mime_type} is only fetched, not examined"));
                }
            }
            Ok(answer) => {
                log.error("dash 5.1", format!("the init segment is answered with {}", answer.status));
            }
            Err(error) => log.error("dash 5.1", format!("the init segment could not be fetched: {error}")),
        }
    }

    fn segment(&mut self, context: &Context<'_>, segment: Segment) {
        let place = place(context, segment);
        let Some(reference) = context.representation.media(segment.number, segment.t) else {
            self.followed
                .log
                .error("dash 5.4", "SegmentTemplate@media can't be expanded: no segment is fetched");
            return;
        };
        let Some(url) = context.url(&reference) else {
            let reference = excerpt(&reference);
            self.followed.log.error("dash 5.4", format!("{reference} is no URL that can be fetched"));
            return;
        };
        let Some(answer) = self.fetch(context, segment, &url, &place) else {
            self.last = None;
            return;
        };
        let log = &mut self.followed.log;
        self.followed.segments += 1;
        self.followed.bytes = self.followed.bytes.saturating_add(answer.body.len() as u64);
        if !self.segment_head_checked {
            self.segment_head_checked = true;
            check_head(&answer, Kind::Segment, log);
            check_revalidation(self.fetcher, &answer, Kind::Segment, log);
        }
        self.bit_rate(context, segment, &place, answer.body.len());
        self.examine(context, segment, place, &answer.body);
    }

    /// The segment's answer. One that is not there at its time is asked for again, to tell late from missing.
    fn fetch(&mut self, context: &Context<'_>, segment: Segment, url: &str, place: &str) -> Option<Answer> {
        let log = &mut self.followed.log;
        let mut answer = self.fetcher.media(url);
        let at_us = context.span.available_at_us(context.template, segment);
        let now_us = self.clock.now_us();
        let fresh = at_us.is_some_and(|at| {
            now_us.saturating_sub(at) < i64::try_from(SECOND_TRY.as_micros()).unwrap_or(i64::MAX)
        });
        if fresh && answer.as_ref().is_ok_and(|answer| answer.status == 404) {
            std::thread::sleep(SECOND_TRY);
            answer = self.fetcher.media(url);
            if answer.as_ref().is_ok_and(|answer| answer.status == 200) {
                let late = SECOND_TRY.as_secs_f64();
                log.warning(
                    "dash 5.1",
                    format!("{place} was not there at its availability time, and {late} s later it was"),
                );
            }
        }
        match answer {
            Ok(answer) if answer.status == 200 => Some(answer),
            Ok(answer) => {
                log.error("dash 5.1", format!("{place} is announced and answered with {}", answer.status));
                None
            }
            Err(error) => {
                log.error("dash 5.1", format!("{place} is announced and could not be fetched: {error}"));
                None
            }
        }
    }

    fn examine(&mut self, context: &Context<'_>, segment: Segment, place: String, body: &[u8]) {
        let start_us = context.span.start_us;
        let timescale = context.template.timescale;
        let nominal = context.nominal();
        let info = SegmentInfo {
            place,
            discontinuity: self.last != Some((start_us, segment.t)),
            // @startWithSAP says so in nearly every MPD of this profile; it is not read.
            independent: None,
            duration: Announced {
                us: i128::from(segment.d).saturating_mul(1_000_000) / i128::from(timescale.max(1)),
                by: if nominal { "@duration" } else { "S@d" },
                rule: if nominal { "dash 5.3" } else { "dash 5.2" },
                nominal,
            },
            date_us: None,
            start: Some((segment.t, timescale)),
        };
        self.last = segment.t.checked_add(segment.d).map(|end| (start_us, end));
        let standing = self.examiner.segment(&info, body, &mut self.followed.log);
        if let Some(standing) = standing.filter(|_| self.followed.starts.len() < STARTS_MAX) {
            self.followed.starts.push(Start {
                sequence: segment.number,
                discontinuity: u64::try_from(start_us).unwrap_or(0),
                date_us: None,
                standing,
            });
        }
    }

    fn bit_rate(&mut self, context: &Context<'_>, segment: Segment, place: &str, bytes: usize) {
        let bits = u128::from(bytes as u64).saturating_mul(8);
        let bps =
            bits.saturating_mul(u128::from(context.template.timescale)).checked_div(u128::from(segment.d));
        let Some(bps) = bps.map(|bps| u64::try_from(bps).unwrap_or(u64::MAX)) else { return };
        self.followed.peak_bps = self.followed.peak_bps.max(bps);
        let bandwidth = context.representation.bandwidth;
        let percent = u128::from(bps).saturating_mul(100).checked_div(u128::from(bandwidth));
        // The limit of hls 4.2: @bandwidth is only exact for a buffer of @minBufferTime (DASH 5.3.5.2).
        if let Some(percent) = percent.filter(|percent| *percent > 125) {
            self.followed.log.warning(
                "dash 5.6",
                format!("{place} has {bps} bit/s, {percent} % of @bandwidth={bandwidth}"),
            );
        }
    }
}

/// Its number, or its time where that names it.
fn place(context: &Context<'_>, segment: Segment) -> String {
    if context.template.names_numbers() {
        format!("segment {}", segment.number)
    } else {
        format!("the segment at {}", segment.t)
    }
}

/// By @mimeType, else by what came.
fn is_mp4(representation: &RepresentationText, answer: &Answer) -> bool {
    match &representation.mime_type {
        Some(mime_type) => mime_type.ends_with("/mp4"),
        None => matches!(answer.body.get(4..8), Some(b"ftyp" | b"moov")),
    }
}

fn declared(representation: &RepresentationText) -> Declared {
    let codecs = representation.codecs.as_deref().unwrap_or_default().split(',');
    let codecs = codecs.map(|codec| codec.trim().to_owned()).filter(|codec| !codec.is_empty());
    Declared {
        codecs: codecs.take(16).collect(),
        exactly: true,
        resolution: representation.resolution,
        attribute: "@codecs",
        codecs_rule: "dash 5.6",
        resolution_rule: "dash 5.6",
    }
}
