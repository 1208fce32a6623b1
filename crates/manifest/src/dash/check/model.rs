//! An MPD as it was read: what the rules and a prober need of it, with templates inherited.

use std::sync::Arc;

use super::values::{TemplateValues, expand, uses};

/// An MPD.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MpdText {
    /// @type is `dynamic`.
    pub dynamic: bool,
    /// @availabilityStartTime in microseconds since the Unix epoch.
    pub availability_start_time_us: Option<i64>,
    /// @publishTime in microseconds since the Unix epoch.
    pub publish_time_us: Option<i64>,
    /// @minimumUpdatePeriod in microseconds, as all durations here.
    pub minimum_update_period_us: Option<i64>,
    /// @minBufferTime.
    pub min_buffer_time_us: Option<i64>,
    /// @timeShiftBufferDepth.
    pub time_shift_buffer_depth_us: Option<i64>,
    /// @suggestedPresentationDelay.
    pub suggested_presentation_delay_us: Option<i64>,
    /// @maxSegmentDuration.
    pub max_segment_duration_us: Option<i64>,
    /// @mediaPresentationDuration.
    pub media_presentation_duration_us: Option<i64>,
    /// The UTCTiming elements as (@schemeIdUri, @value).
    pub utc_timings: Vec<(String, String)>,
    /// The Periods in the order of the text.
    pub periods: Vec<PeriodText>,
}

impl MpdText {
    /// The Period with this id.
    pub fn period(&self, id: &str) -> Option<&PeriodText> {
        self.periods.iter().find(|period| period.id.as_deref() == Some(id))
    }

    /// Segments that a SegmentTimeline lists, of all Representations together.
    pub fn segment_count(&self) -> u64 {
        let templates = self.periods.iter().flat_map(PeriodText::representations);
        let counts =
            templates.filter_map(|representation| representation.template.as_ref()?.timeline.as_ref());
        counts.fold(0, |sum, timeline| sum.saturating_add(timeline.count()))
    }
}

/// A Period.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PeriodText {
    /// @id.
    pub id: Option<String>,
    /// @start in microseconds, or what follows from the Period before it (DASH 5.3.2.1).
    pub start_us: Option<i64>,
    /// @duration in microseconds.
    pub duration_us: Option<i64>,
    /// Its AdaptationSets.
    pub adaptation_sets: Vec<AdaptationSetText>,
}

impl PeriodText {
    /// The Representations of all its sets.
    pub fn representations(&self) -> impl Iterator<Item = &RepresentationText> {
        self.adaptation_sets.iter().flat_map(|set| &set.representations)
    }
}

/// An AdaptationSet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AdaptationSetText {
    /// @id.
    pub id: Option<String>,
    /// `video`, `audio`, ...: @contentType, or the first half of @mimeType; empty when neither says.
    pub content_type: String,
    /// @lang.
    pub lang: Option<String>,
    /// The ids of earlier Periods that this set continues.
    pub continuity_of: Vec<String>,
    /// Its Representations.
    pub representations: Vec<RepresentationText>,
}

/// A Representation, with what its set says for it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RepresentationText {
    /// @id.
    pub id: String,
    /// @bandwidth in bit/s; 0 when it has none.
    pub bandwidth: u64,
    /// @mimeType.
    pub mime_type: Option<String>,
    /// @codecs.
    pub codecs: Option<String>,
    /// @width and @height.
    pub resolution: Option<(u64, u64)>,
    /// @frameRate as it is written.
    pub frame_rate: Option<String>,
    /// @audioSamplingRate as it is written: one number, or two.
    pub audio_sampling_rate: Option<String>,
    /// The first BaseURL of each level that has one, from the MPD down: each is resolved against the one before, the first
    /// against the URL of the MPD.
    pub base_urls: Vec<String>,
    /// Its segments; `None` when it has no SegmentTemplate.
    pub template: Option<Arc<SegmentTemplateText>>,
}

impl RepresentationText {
    /// The URL of the initialization section, relative to [`RepresentationText::base_urls`].
    pub fn initialization(&self) -> Option<String> {
        expand(self.template.as_ref()?.initialization.as_deref()?, self.values(0, 0))
    }

    /// The URL of a segment, relative to [`RepresentationText::base_urls`].
    pub fn media(&self, number: u64, time: u64) -> Option<String> {
        expand(self.template.as_ref()?.media.as_deref()?, self.values(number, time))
    }

    fn values(&self, number: u64, time: u64) -> TemplateValues<'_> {
        TemplateValues { representation_id: &self.id, bandwidth: self.bandwidth, number, time }
    }
}

/// A SegmentTemplate, with what it inherits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentTemplateText {
    /// @timescale in ticks per second, not 0.
    pub timescale: u64,
    /// @presentationTimeOffset in ticks.
    pub presentation_time_offset: u64,
    /// @startNumber.
    pub start_number: u64,
    /// @availabilityTimeOffset in microseconds; 0 when it has none or an endless one.
    pub availability_time_offset_us: i64,
    /// @initialization.
    pub initialization: Option<Arc<str>>,
    /// @media.
    pub media: Option<Arc<str>>,
    /// @duration in ticks: numbered segments without a timeline.
    pub duration: Option<u64>,
    /// SegmentTimeline.
    pub timeline: Option<Arc<TimelineText>>,
}

impl Default for SegmentTemplateText {
    /// What the attributes are when they are not there (DASH 5.3.9.2.2, 5.3.9.5.3).
    fn default() -> SegmentTemplateText {
        SegmentTemplateText {
            timescale: 1,
            presentation_time_offset: 0,
            start_number: 1,
            availability_time_offset_us: 0,
            initialization: None,
            media: None,
            duration: None,
            timeline: None,
        }
    }
}

impl SegmentTemplateText {
    /// The listed segments as (number, S@t, S@d) in their order. A text may claim 2^63 of them: take as many as are wanted.
    pub fn segments(&self) -> impl Iterator<Item = (u64, u64, u64)> {
        let runs = self.timeline.iter().flat_map(|timeline| &timeline.runs);
        runs.flat_map(|run| {
            (0..run.count).map(|n| (self.number(run.index.saturating_add(n)), run.time(n), run.d))
        })
    }

    /// The last `count` of [`SegmentTemplateText::segments`], the newest first.
    pub fn newest_segments(&self, count: u64) -> impl Iterator<Item = (u64, u64, u64)> {
        let runs = self.timeline.iter().flat_map(|timeline| timeline.runs.iter().rev());
        runs.flat_map(move |run| {
            let newest = (run.count.saturating_sub(count)..run.count).rev();
            newest.map(|n| (self.number(run.index.saturating_add(n)), run.time(n), run.d))
        })
        .take(usize::try_from(count).unwrap_or(usize::MAX))
    }

    /// The number one past the last that is listed.
    pub fn end_number(&self) -> u64 {
        self.number(self.timeline.as_ref().map_or(0, |timeline| timeline.count()))
    }

    /// Whether segments are named by their numbers.
    pub fn names_numbers(&self) -> bool {
        self.media.as_deref().is_some_and(|media| uses(media, "Number"))
    }

    fn number(&self, index: u64) -> u64 {
        self.start_number.saturating_add(index)
    }

    /// Microseconds from the start of the Period to the media time of `t`.
    pub(super) fn period_time_us(&self, t: u64) -> i64 {
        let ticks = i128::from(t) - i128::from(self.presentation_time_offset);
        saturate(ticks * 1_000_000 / i128::from(self.timescale.max(1)))
    }

    /// Microseconds of a duration in ticks, rounded up.
    pub(super) fn duration_us(&self, d: u64) -> i64 {
        let scale = i128::from(self.timescale.max(1));
        saturate((i128::from(d) * 1_000_000 + scale - 1) / scale)
    }
}

/// An `i64` as near as there is one.
fn saturate(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

/// A SegmentTimeline: runs in the order of the text, none of them empty, each ending below 2^64.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TimelineText {
    /// The `S` elements.
    pub runs: Vec<RunText>,
    /// Every `S` was read and says how many segments it is; else the numbers are not to be relied on.
    pub complete: bool,
}

impl TimelineText {
    /// How many segments it lists.
    pub fn count(&self) -> u64 {
        self.runs.last().map_or(0, |run| run.index.saturating_add(run.count))
    }

    /// S@t of the first segment.
    pub fn start(&self) -> Option<u64> {
        Some(self.runs.first()?.t)
    }

    /// The end of the last segment.
    pub fn end(&self) -> Option<u64> {
        Some(self.runs.last()?.end())
    }

    /// The index of the segment that starts at `t`.
    pub(super) fn index_of(&self, t: u64) -> Option<u64> {
        let run = self.runs.iter().find(|run| (run.t..run.end()).contains(&t))?;
        let into = t.checked_sub(run.t)?;
        (into.checked_rem(run.d)? == 0).then(|| run.index.saturating_add(into / run.d.max(1)))
    }
}

/// One `S`: `count` segments of `d` ticks from `t` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunText {
    /// The place of the first in the timeline, from 0.
    pub index: u64,
    /// How many: S@r + 1.
    pub count: u64,
    /// S@t, written or not.
    pub t: u64,
    /// S@d, not 0.
    pub d: u64,
}

impl RunText {
    /// The time of the `n`th in it, from 0.
    pub fn time(&self, n: u64) -> u64 {
        self.t.saturating_add(n.saturating_mul(self.d))
    }

    /// Where the last ends.
    pub fn end(&self) -> u64 {
        self.time(self.count)
    }
}
