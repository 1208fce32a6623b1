//! The MPD: Periods of AdaptationSets whose segments a SegmentTimeline lists, rendered in one pass into one buffer.

use std::num::NonZeroU64;
use std::time::Duration;

use headwater_media::{Timescale, WallTime};

use super::text::{
    DATE_BYTES, DECIMAL_BYTES_MAX, DURATION_BYTES_MAX, ESCAPE_BYTES_MAX, lowest_terms, push, push_date,
    push_duration, push_escaped, push_u64,
};
use super::{PERIOD_CONTINUITY, PROFILE_LOW_LATENCY, PROFILES, RenderError, UTC_TIMING_HTTP_ISO};

/// A Media Presentation Description of a live stream, or of one that has ended.
///
/// `T` is what lists a set's segments, e.g. `std::iter::Copied<std::slice::Iter<'_, TimelineSegment>>`: it is cloned and
/// walked once per rendering, so it should be a cheap iterator and not a collection.
///
/// Every [`Duration`] is written in whole milliseconds; what is finer is cut off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mpd<'a, T> {
    /// @availabilityStartTime: where Period@start counts from; constant for the life of the MPD's URL.
    pub availability_start_time: WallTime,
    /// @publishTime: when this version was made; changes exactly when anything else does (DASH 5.3.1.2).
    pub publish_time: WallTime,
    /// @minimumUpdatePeriod: about one segment, dash.js asks once a second at most. Not written once [`Mpd::ended`].
    pub minimum_update_period: Duration,
    /// @minBufferTime.
    pub min_buffer_time: Duration,
    /// @timeShiftBufferDepth: the window. Not written once [`Mpd::ended`]: it has no meaning in a static MPD.
    pub time_shift_buffer_depth: Duration,
    /// @suggestedPresentationDelay. Not written once [`Mpd::ended`].
    pub suggested_presentation_delay: Duration,
    /// @maxSegmentDuration: no segment of any Period is longer. Shaka takes 1 s for absent.
    pub max_segment_duration: Duration,
    /// No segment will be added any more: @type becomes `static`, and @mediaPresentationDuration is this. It counts from
    /// Period@start 0, not from the first Period: the last Period's start and duration together (DASH 5.3.2.1).
    pub ended: Option<Duration>,
    /// UTCTiming: absolute URL of a clock with milliseconds. GStreamer refuses a relative one.
    pub utc_timing: Option<&'a str>,
    /// ServiceDescription: how far behind players are to be; `None` leaves it to them.
    pub latency: Option<Latency>,
    /// The Periods in the order of their start; at least one.
    pub periods: Vec<Period<'a, T>>,
}

/// What a ServiceDescription asks of players (DASH annex K), and with it the profile of low latency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Latency {
    /// Latency@target: how far behind [`ProducerReference::wall_clock`] the picture is to be.
    pub target: Duration,
    /// Latency@min.
    pub min: Duration,
    /// Latency@max.
    pub max: Duration,
    /// PlaybackRate@min and @max in percent: how much slower or faster it may play to get there.
    pub playback_rate_percent: (u32, u32),
}

/// A ProducerReferenceTime: an instant at which a media time was produced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerReference {
    /// @wallClockTime.
    pub wall_clock: WallTime,
    /// @presentationTime in ticks of the SegmentTemplate's timescale.
    pub presentation_time: u64,
    /// @inband: chunks carry `prft` boxes too.
    pub inband: bool,
}

/// A Period: media of one codec configuration on one mapping from media time to wall clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Period<'a, T> {
    /// @id: never used for another Period of the same MPD URL, not even after it has left.
    pub id: u64,
    /// @start, after [`Mpd::availability_start_time`]; constant for an id.
    pub start: Duration,
    /// @duration: where media ends before the next Period starts; `None` while it grows, and where the two touch.
    pub duration: Option<Duration>,
    /// The earlier Period whose initialization and media time every set of this one continues ([`PERIOD_CONTINUITY`]).
    pub continuity_of: Option<u64>,
    /// Its tracks; at least one. A track without a segment yet is left out.
    pub adaptation_sets: Vec<AdaptationSet<'a, T>>,
}

/// An AdaptationSet of one Representation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdaptationSet<'a, T> {
    /// @id: the same for the same track in every Period, so that players find it again.
    pub id: u32,
    /// @lang: a language tag (RFC 5646), `None` when unknown.
    pub lang: Option<&'a str>,
    /// The one Representation.
    pub representation: Representation<'a>,
    /// When its media was produced, for [`Mpd::latency`].
    pub producer_reference: Option<ProducerReference>,
    /// Schemes of the event messages that its segments may hold (InbandEventStream@schemeIdUri).
    pub event_schemes: &'a [&'a str],
    /// Its segments.
    pub template: SegmentTemplate<'a, T>,
}

/// What a player must know to choose a Representation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Representation<'a> {
    /// @id: unique in the Period, without white space, the same in every Period.
    pub id: &'a str,
    /// @bandwidth: peak bit/s; written as 2^32 - 1 above it (the schema's `xs:unsignedInt`).
    pub bandwidth: NonZeroU64,
    /// @codecs: RFC 6381, e.g. `avc1.64001f`.
    pub codecs: &'a str,
    /// Pictures or sound.
    pub media: Media,
}

/// Pictures or sound, with what either is described by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Media {
    /// @contentType `video`.
    Video(Video),
    /// @contentType `audio`.
    Audio(Audio),
}

impl Media {
    fn content_type(&self) -> &'static str {
        match self {
            Media::Video(_) => "video",
            Media::Audio(_) => "audio",
        }
    }
}

/// Pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Video {
    /// @width: luma samples per row.
    pub width: u32,
    /// @height: rows.
    pub height: u32,
    /// @sar: sample aspect ratio; not written when a part is 0.
    pub sample_aspect_ratio: (u16, u16),
    /// @frameRate: frames per second as (numerator, denominator), written in lowest terms; not when a part is 0.
    pub frame_rate: Option<(u32, u32)>,
}

/// Sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Audio {
    /// @audioSamplingRate: samples per second after decoding.
    pub sampling_rate: u32,
    /// AudioChannelConfiguration: how many; not written when 0.
    pub channels: u8,
}

/// A SegmentTemplate: one name per number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentTemplate<'a, T> {
    /// @timescale: that of the track.
    pub timescale: Timescale,
    /// @presentationTimeOffset: the media time at Period@start, in ticks: the `tfdt` of the Period's first sample.
    pub presentation_time_offset: u64,
    /// @startNumber: the number of the first segment listed, so it moves with the window; the others count on by one. Of
    /// [`Segments::Regular`], the number of the Period's first segment.
    /// At most 2^32 - 1 (the schema's `xs:unsignedInt`): Unix seconds fit until 2106.
    pub start_number: u64,
    /// @initialization: a URL template, relative to the MPD, in pieces, one behind the other; not all are empty.
    pub initialization: [&'a str; 4],
    /// @media: a URL template with `$Number$`, relative to the MPD. A `$` that is none of a template's is written `$$`.
    pub media: &'a str,
    /// Which segments there are.
    pub segments: Segments<T>,
}

/// How a SegmentTemplate says which segments there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Segments<T> {
    /// A SegmentTimeline: one time per segment, in the order of their numbers; at least one.
    Timeline(T),
    /// Segments of one duration that number themselves by time, the one under construction among them (DASH 5.3.9.5.3).
    Regular(Regular),
}

/// Segments of about one duration, which can be asked for while they are under construction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Regular {
    /// @duration in ticks, not 0: no segment begins more than half of it beside its place (cmaf-dash.md 5.3).
    pub duration: u64,
    /// @availabilityTimeOffset: how much before its end a segment can be asked for, for the chunks that there are
    /// (@availabilityTimeComplete is false).
    pub availability_time_offset: Duration,
}

impl<T> SegmentTemplate<'_, T> {
    /// What lists the segments, if anything does.
    pub fn timeline(&self) -> Option<&T> {
        match &self.segments {
            Segments::Timeline(timeline) => Some(timeline),
            Segments::Regular(_) => None,
        }
    }
}

/// One segment of a SegmentTimeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TimelineSegment {
    /// S@t: its earliest presentation time in ticks, which is its `tfdt`.
    pub t: u64,
    /// S@d: its duration in ticks, not 0.
    pub d: u64,
}

/// An MPD's tags and fixed attributes outside its Periods.
const MPD_BYTES: usize = 1_024
    + PROFILES.len()
    + PROFILE_LOW_LATENCY.len()
    + UTC_TIMING_HTTP_ISO.len()
    + 2 * DATE_BYTES
    + 6 * DURATION_BYTES_MAX;
/// A Period's tags.
const PERIOD_BYTES: usize = 64 + DECIMAL_BYTES_MAX + 2 * DURATION_BYTES_MAX;
/// An AdaptationSet's tags and fixed attributes with their longest numbers, two event streams among them, without its strings and
/// segments.
const ADAPTATION_SET_BYTES: usize = 1_408 + PERIOD_CONTINUITY.len() + DATE_BYTES + 16 * DECIMAL_BYTES_MAX;
/// The longest `<S t="" d=""/>`; one with S@r stands for two segments at least, and has less than twice as many.
const SEGMENT_BYTES: usize = 14 + 2 * DECIMAL_BYTES_MAX;

impl<T> Mpd<'_, T>
where
    T: Clone + IntoIterator<Item = TimelineSegment>,
{
    /// The MPD's text, UTF-8, in one allocation when the timelines know their lengths.
    ///
    /// # Errors
    /// [`RenderError`], naming what has nothing to play or can't be written.
    pub fn render(&self) -> Result<Vec<u8>, RenderError> {
        let mut out = Vec::with_capacity(self.len_max());
        self.render_into(&mut out)?;
        Ok(out)
    }

    /// [`Mpd::render`] at the end of `out`, for callers that recycle buffers.
    ///
    /// # Errors
    /// As [`Mpd::render`]; `out` then ends in an unfinished MPD.
    pub fn render_into(&self, out: &mut Vec<u8>) -> Result<(), RenderError> {
        if self.periods.is_empty() {
            return Err(RenderError::NoPeriods);
        }
        self.push_start(out);
        for period in &self.periods {
            period.push(self.utc_timing, out)?;
        }
        if let Some(url) = self.utc_timing {
            push_utc_timing(out, url)?;
            out.push(b'\n');
        }
        push(out, "</MPD>\n");
        Ok(())
    }

    fn push_start(&self, out: &mut Vec<u8>) {
        push(
            out,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" type=\"",
        );
        push(out, if self.ended.is_some() { "static" } else { "dynamic" });
        push(out, "\" profiles=\"");
        push(out, PROFILES);
        if self.latency.is_some() {
            out.push(b',');
            push(out, PROFILE_LOW_LATENCY);
        }
        push(out, "\" availabilityStartTime=\"");
        push_date(out, self.availability_start_time);
        push(out, "\" publishTime=\"");
        push_date(out, self.publish_time);
        match self.ended {
            Some(duration) => push_duration_attribute(out, "\" mediaPresentationDuration=\"", duration),
            None => {
                push_duration_attribute(out, "\" minimumUpdatePeriod=\"", self.minimum_update_period);
                push_duration_attribute(out, "\" timeShiftBufferDepth=\"", self.time_shift_buffer_depth);
                let delay = self.suggested_presentation_delay;
                push_duration_attribute(out, "\" suggestedPresentationDelay=\"", delay);
            }
        }
        push_duration_attribute(out, "\" minBufferTime=\"", self.min_buffer_time);
        push_duration_attribute(out, "\" maxSegmentDuration=\"", self.max_segment_duration);
        push(out, "\">\n");
        if let Some(latency) = &self.latency {
            latency.push(out);
        }
    }

    /// At least as many bytes as the text has, when the timelines know their lengths.
    pub(super) fn len_max(&self) -> usize {
        let sets = self.periods.iter().flat_map(|period| &period.adaptation_sets);
        let sets: usize = sets.map(AdaptationSet::len_max).sum();
        let url = self.utc_timing.map_or(0, str::len) * ESCAPE_BYTES_MAX;
        MPD_BYTES + url + self.periods.len() * PERIOD_BYTES + sets
    }
}

impl Latency {
    fn push(&self, out: &mut Vec<u8>) {
        push(out, "<ServiceDescription id=\"0\"><Latency referenceId=\"0\" target=\"");
        push_millis(out, self.target);
        push(out, "\" min=\"");
        push_millis(out, self.min);
        push(out, "\" max=\"");
        push_millis(out, self.max);
        push(out, "\"/><PlaybackRate min=\"");
        let (min, max) = self.playback_rate_percent;
        push_hundredths(out, min);
        push(out, "\" max=\"");
        push_hundredths(out, max);
        push(out, "\"/></ServiceDescription>\n");
    }
}

impl ProducerReference {
    fn push(&self, out: &mut Vec<u8>, utc_timing: Option<&str>) -> Result<(), RenderError> {
        push(out, "<ProducerReferenceTime id=\"0\" type=\"encoder\" wallClockTime=\"");
        push_date(out, self.wall_clock);
        push(out, "\" presentationTime=\"");
        push_u64(out, self.presentation_time);
        push(out, if self.inband { "\" inband=\"true\"" } else { "\"" });
        match utc_timing {
            Some(url) => {
                push(out, ">");
                push_utc_timing(out, url)?;
                push(out, "</ProducerReferenceTime>\n");
            }
            None => push(out, "/>\n"),
        }
        Ok(())
    }
}

impl<T> Period<'_, T>
where
    T: Clone + IntoIterator<Item = TimelineSegment>,
{
    fn push(&self, utc_timing: Option<&str>, out: &mut Vec<u8>) -> Result<(), RenderError> {
        if self.adaptation_sets.is_empty() {
            return Err(RenderError::NoAdaptationSets { period: self.id });
        }
        push(out, "<Period id=\"");
        push_u64(out, self.id);
        push_duration_attribute(out, "\" start=\"", self.start);
        if let Some(duration) = self.duration {
            push_duration_attribute(out, "\" duration=\"", duration);
        }
        push(out, "\">\n");
        for set in &self.adaptation_sets {
            set.push(self, utc_timing, out)?;
        }
        push(out, "</Period>\n");
        Ok(())
    }
}

impl<T> AdaptationSet<'_, T>
where
    T: Clone + IntoIterator<Item = TimelineSegment>,
{
    fn push(
        &self,
        period: &Period<'_, T>,
        utc_timing: Option<&str>,
        out: &mut Vec<u8>,
    ) -> Result<(), RenderError> {
        push(out, "<AdaptationSet id=\"");
        push_u64(out, u64::from(self.id));
        let content_type = self.representation.media.content_type();
        push(out, "\" contentType=\"");
        push(out, content_type);
        push(out, "\" mimeType=\"");
        push(out, content_type);
        push(out, "/mp4\"");
        if let Some(lang) = self.lang {
            push_lang(out, lang)?;
        }
        // Every segment starts with an IDR, and segments of all sets are cut together (cmaf-dash 4.1, 4.3).
        push(out, " segmentAlignment=\"true\" startWithSAP=\"1\"");
        if let Media::Video(video) = self.representation.media {
            video.push_set_attributes(out);
        }
        push(out, ">\n");
        if let Media::Audio(audio) = self.representation.media {
            audio.push_channels(out);
        }
        if let Some(earlier) = period.continuity_of {
            push(out, "<SupplementalProperty schemeIdUri=\"");
            push(out, PERIOD_CONTINUITY);
            push(out, "\" value=\"");
            push_u64(out, earlier);
            push(out, "\"/>\n");
        }
        for scheme in self.event_schemes {
            push(out, "<InbandEventStream schemeIdUri=\"");
            push_escaped(out, "InbandEventStream@schemeIdUri", scheme)?;
            push(out, "\"/>\n");
        }
        if let Some(reference) = &self.producer_reference {
            reference.push(out, utc_timing)?;
        }
        push(out, "<Role schemeIdUri=\"urn:mpeg:dash:role:2011\" value=\"main\"/>\n");
        let ids = (period.id, self.id);
        self.template.push(ids, out)?;
        self.representation.push(out)?;
        push(out, "</AdaptationSet>\n");
        Ok(())
    }

    fn len_max(&self) -> usize {
        let SegmentTemplate { initialization, media, segments, .. } = &self.template;
        let strings = [self.lang.unwrap_or_default(), self.representation.id, self.representation.codecs];
        let strings = strings.iter().chain(initialization).chain([media]).chain(self.event_schemes);
        let strings: usize = strings.map(|text| text.len()).sum();
        let segments = match segments {
            Segments::Timeline(timeline) => timeline.clone().into_iter().size_hint().0,
            Segments::Regular(_) => 0,
        };
        ADAPTATION_SET_BYTES + strings * ESCAPE_BYTES_MAX + segments * SEGMENT_BYTES
    }
}

/// `xs:language`: `[a-zA-Z]{1,8}(-[a-zA-Z0-9]{1,8})*`.
fn push_lang(out: &mut Vec<u8>, lang: &str) -> Result<(), RenderError> {
    let subtag = |tag: &str| (1..=8).contains(&tag.len()) && tag.bytes().all(|b| b.is_ascii_alphanumeric());
    let primary = lang.split('-').next().unwrap_or_default();
    if !lang.split('-').all(subtag) || !primary.bytes().all(|b| b.is_ascii_alphabetic()) {
        return Err(RenderError::Form("AdaptationSet@lang"));
    }
    push(out, " lang=\"");
    push(out, lang);
    out.push(b'"');
    Ok(())
}

impl Video {
    /// @par, @maxWidth, @maxHeight and @maxFrameRate: a set of one Representation is described by it.
    fn push_set_attributes(&self, out: &mut Vec<u8>) {
        let (x, y) = self.sample_aspect_ratio;
        let (width, height) = (u64::from(self.width), u64::from(self.height));
        // 48 bits at most.
        if let Some((x, y)) = lowest_terms(width * u64::from(x), height * u64::from(y)) {
            push_ratio(out, " par=\"", x, y);
        }
        push(out, " maxWidth=\"");
        push_u64(out, width);
        push(out, "\" maxHeight=\"");
        push_u64(out, height);
        out.push(b'"');
        self.push_frame_rate(out, " maxFrameRate=\"");
    }

    /// `30` or `30000/1001` (DASH FrameRateType), behind `name`.
    fn push_frame_rate(&self, out: &mut Vec<u8>, name: &str) {
        let Some((numerator, denominator)) = self.frame_rate else { return };
        let Some((numerator, denominator)) = lowest_terms(numerator.into(), denominator.into()) else {
            return;
        };
        push(out, name);
        push_u64(out, numerator);
        if denominator != 1 {
            out.push(b'/');
            push_u64(out, denominator);
        }
        out.push(b'"');
    }

    fn push_representation_attributes(&self, out: &mut Vec<u8>) {
        push(out, "\" width=\"");
        push_u64(out, u64::from(self.width));
        push(out, "\" height=\"");
        push_u64(out, u64::from(self.height));
        out.push(b'"');
        self.push_frame_rate(out, " frameRate=\"");
        let (x, y) = self.sample_aspect_ratio;
        if let Some((x, y)) = lowest_terms(x.into(), y.into()) {
            push_ratio(out, " sar=\"", x, y);
        }
    }
}

impl Audio {
    fn push_channels(&self, out: &mut Vec<u8>) {
        if self.channels == 0 {
            return;
        }
        // An index of channel layouts, which up to 5.1 is the number of channels; players read it as that number.
        push(
            out,
            "<AudioChannelConfiguration schemeIdUri=\"urn:mpeg:dash:23003:3:audio_channel_configuration:2011\" value=\"",
        );
        push_u64(out, u64::from(self.channels));
        push(out, "\"/>\n");
    }
}

impl Representation<'_> {
    fn push(&self, out: &mut Vec<u8>) -> Result<(), RenderError> {
        if self.id.is_empty() {
            return Err(RenderError::Form("Representation@id"));
        }
        if let Some(character) = self.id.chars().find(|c| c.is_whitespace()) {
            return Err(RenderError::Character { attribute: "Representation@id", character });
        }
        let codec = |codec: &str| !codec.is_empty() && codec.bytes().all(is_codec_character);
        if !self.codecs.split(',').all(codec) {
            return Err(RenderError::Form("Representation@codecs"));
        }
        push(out, "<Representation id=\"");
        push_escaped(out, "Representation@id", self.id)?;
        push(out, "\" bandwidth=\"");
        push_u64(out, self.bandwidth.get().min(u32::MAX.into()));
        push(out, "\" codecs=\"");
        push(out, self.codecs);
        match self.media {
            Media::Video(video) => video.push_representation_attributes(out),
            Media::Audio(audio) => {
                push(out, "\" audioSamplingRate=\"");
                push_u64(out, u64::from(audio.sampling_rate));
                out.push(b'"');
            }
        }
        push(out, "/>\n");
        Ok(())
    }
}

/// The characters of RFC 6381 codec strings in use.
fn is_codec_character(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'+')
}

impl<T> SegmentTemplate<'_, T>
where
    T: Clone + IntoIterator<Item = TimelineSegment>,
{
    fn push(&self, (period, adaptation_set): (u64, u32), out: &mut Vec<u8>) -> Result<(), RenderError> {
        if self.start_number > u64::from(u32::MAX) {
            return Err(RenderError::StartNumber(self.start_number));
        }
        push(out, "<SegmentTemplate timescale=\"");
        push_u64(out, u64::from(self.timescale.hz()));
        push(out, "\" presentationTimeOffset=\"");
        push_u64(out, self.presentation_time_offset);
        push(out, "\" startNumber=\"");
        push_u64(out, self.start_number);
        for (name, attribute, template) in [
            ("\" initialization=\"", "SegmentTemplate@initialization", self.initialization.as_slice()),
            ("\" media=\"", "SegmentTemplate@media", &[self.media]),
        ] {
            if template.iter().all(|piece| piece.is_empty()) {
                return Err(RenderError::Form(attribute));
            }
            push(out, name);
            for piece in template {
                push_escaped(out, attribute, piece)?;
            }
        }
        let timeline = match &self.segments {
            Segments::Timeline(timeline) => timeline,
            Segments::Regular(regular) => return regular.push((period, adaptation_set), out),
        };
        push(out, "\">\n<SegmentTimeline>");
        let mut run: Option<Run> = None;
        for segment in timeline.clone() {
            if segment.d == 0 {
                return Err(RenderError::NoDuration { period, adaptation_set });
            }
            run = Some(match run {
                Some(run) if run.continues_with(segment) => run.with(segment),
                Some(before) => {
                    before.push(out);
                    Run::new(segment, before.end != Some(segment.t))
                }
                None => Run::new(segment, true),
            });
        }
        run.ok_or(RenderError::NoSegments { period, adaptation_set })?.push(out);
        push(out, "</SegmentTimeline>\n</SegmentTemplate>\n");
        Ok(())
    }
}

impl Regular {
    fn push(&self, (period, adaptation_set): (u64, u32), out: &mut Vec<u8>) -> Result<(), RenderError> {
        if self.duration == 0 {
            return Err(RenderError::NoDuration { period, adaptation_set });
        }
        push(out, "\" duration=\"");
        push_u64(out, self.duration);
        push(out, "\" availabilityTimeOffset=\"");
        push_u64(out, self.availability_time_offset.as_secs());
        out.push(b'.');
        push_three(out, self.availability_time_offset.subsec_millis());
        // dash.js compares the text "false".
        push(out, "\" availabilityTimeComplete=\"false\"/>\n");
        Ok(())
    }
}

/// Segments of one duration that follow one another: one `S` (DASH 5.3.9.6).
struct Run {
    t: u64,
    d: u64,
    /// S@r: segments after the first.
    repeats: u64,
    /// Whether S@t is written: on the first `S`, and behind a gap.
    explicit: bool,
    /// Where the next segment starts; `None` past the end of 64 bits.
    end: Option<u64>,
}

impl Run {
    fn new(TimelineSegment { t, d }: TimelineSegment, explicit: bool) -> Run {
        Run { t, d, repeats: 0, explicit, end: t.checked_add(d) }
    }

    fn continues_with(&self, segment: TimelineSegment) -> bool {
        self.end == Some(segment.t) && self.d == segment.d
    }

    fn with(self, TimelineSegment { t, d }: TimelineSegment) -> Run {
        Run { repeats: self.repeats.saturating_add(1), end: t.checked_add(d), ..self }
    }

    fn push(&self, out: &mut Vec<u8>) {
        push(out, "<S");
        if self.explicit {
            push(out, " t=\"");
            push_u64(out, self.t);
            out.push(b'"');
        }
        push(out, " d=\"");
        push_u64(out, self.d);
        if self.repeats > 0 {
            push(out, "\" r=\"");
            push_u64(out, self.repeats);
        }
        push(out, "\"/>");
    }
}

fn push_utc_timing(out: &mut Vec<u8>, url: &str) -> Result<(), RenderError> {
    if !url.starts_with("http://") && !url.starts_with("https://") {
        return Err(RenderError::Form("UTCTiming@value"));
    }
    push(out, "<UTCTiming schemeIdUri=\"");
    push(out, UTC_TIMING_HTTP_ISO);
    push(out, "\" value=\"");
    push_escaped(out, "UTCTiming@value", url)?;
    push(out, "\"/>");
    Ok(())
}

fn push_millis(out: &mut Vec<u8>, duration: Duration) {
    push_u64(out, u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
}

/// `1.04` for 104.
fn push_hundredths(out: &mut Vec<u8>, percent: u32) {
    push_u64(out, u64::from(percent / 100));
    out.push(b'.');
    push_u64(out, u64::from(percent / 10 % 10));
    push_u64(out, u64::from(percent % 10));
}

/// Three digits of what is below 1,000.
fn push_three(out: &mut Vec<u8>, value: u32) {
    push_u64(out, u64::from(value / 100));
    push_u64(out, u64::from(value / 10 % 10));
    push_u64(out, u64::from(value % 10));
}

/// `name` is the end of the attribute before it, its own name and the quote in front of the value.
fn push_duration_attribute(out: &mut Vec<u8>, name: &str, duration: Duration) {
    push(out, name);
    push_duration(out, duration);
}

/// `x:y` behind `name` (DASH RatioType).
fn push_ratio(out: &mut Vec<u8>, name: &str, x: u64, y: u64) {
    push(out, name);
    push_u64(out, x);
    out.push(b':');
    push_u64(out, y);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    type Timeline = std::iter::Copied<std::slice::Iter<'static, TimelineSegment>>;

    fn timeline(segments: &[(u64, u64)]) -> Timeline {
        let segments: Vec<_> = segments.iter().map(|&(t, d)| TimelineSegment { t, d }).collect();
        // Leaked: a few dozen bytes per test, for a fixture without a lifetime.
        segments.leak().iter().copied()
    }

    fn video(segments: &[(u64, u64)]) -> AdaptationSet<'static, Timeline> {
        AdaptationSet {
            id: 0,
            lang: None,
            representation: Representation {
                id: "v0",
                bandwidth: NonZeroU64::new(3_000_000).unwrap(),
                codecs: "avc1.64001f",
                media: Media::Video(Video {
                    width: 1_280,
                    height: 720,
                    sample_aspect_ratio: (1, 1),
                    frame_rate: Some((30, 1)),
                }),
            },
            producer_reference: None,
            event_schemes: &[],
            template: SegmentTemplate {
                timescale: Timescale::MPEG,
                presentation_time_offset: 900_000,
                start_number: 41,
                initialization: ["v0/init-3fa1.mp4", "", "", ""],
                media: "v0/$Number$.m4s",
                segments: Segments::Timeline(timeline(segments)),
            },
        }
    }

    fn audio(segments: &[(u64, u64)]) -> AdaptationSet<'static, Timeline> {
        AdaptationSet {
            id: 1,
            lang: Some("en"),
            representation: Representation {
                id: "a0",
                bandwidth: NonZeroU64::new(128_000).unwrap(),
                codecs: "mp4a.40.2",
                media: Media::Audio(Audio { sampling_rate: 48_000, channels: 2 }),
            },
            producer_reference: None,
            event_schemes: &[],
            template: SegmentTemplate {
                timescale: Timescale::new(48_000).unwrap(),
                presentation_time_offset: 480_000,
                start_number: 41,
                initialization: ["a0/", "init-", "77b2", ".mp4"],
                media: "a0/$Number$.m4s",
                segments: Segments::Timeline(timeline(segments)),
            },
        }
    }

    fn live() -> Mpd<'static, Timeline> {
        let seconds = Duration::from_secs;
        Mpd {
            availability_start_time: WallTime::from_unix_millis(946_684_800_000),
            publish_time: WallTime::from_unix_millis(1_769_860_812_100),
            minimum_update_period: seconds(2),
            min_buffer_time: seconds(2),
            time_shift_buffer_depth: seconds(20),
            suggested_presentation_delay: seconds(6),
            max_segment_duration: Duration::from_millis(2_005),
            ended: None,
            utc_timing: Some("http://example.org:8080/time?a=1&b"),
            latency: None,
            periods: vec![Period {
                id: 41,
                start: Duration::from_millis(823_176_000_250),
                duration: None,
                continuity_of: None,
                adaptation_sets: vec![
                    video(&[(900_000, 180_000), (1_080_000, 180_000), (1_260_000, 180_000)]),
                    audio(&[(480_000, 96_256), (576_256, 96_256), (672_512, 95_232)]),
                ],
            }],
        }
    }

    fn rendered(mpd: &Mpd<'_, Timeline>) -> String {
        let text = mpd.render().expect("it can be rendered");
        assert!(text.len() <= mpd.len_max(), "{} bytes are more than {}", text.len(), mpd.len_max());
        String::from_utf8(text).expect("an MPD is UTF-8")
    }

    #[test]
    fn what_low_latency_adds_by_the_byte() {
        let mut mpd = live();
        mpd.latency = Some(Latency {
            target: Duration::from_millis(1_200),
            min: Duration::from_millis(600),
            max: Duration::from_secs(4),
            playback_rate_percent: (96, 104),
        });
        for set in &mut mpd.periods[0].adaptation_sets {
            set.template.segments = Segments::Regular(Regular {
                duration: 180_180,
                availability_time_offset: Duration::from_millis(1_788),
            });
            set.producer_reference = Some(ProducerReference {
                wall_clock: WallTime::from_unix_millis(1_769_860_800_250),
                presentation_time: 900_000,
                inband: true,
            });
        }
        let text = rendered(&mpd);
        let clock = r#"<UTCTiming schemeIdUri="urn:mpeg:dash:utc:http-iso:2014" value="http://example.org:8080/time?a=1&amp;b"/>"#;
        let reference = format!(
            r#"<ProducerReferenceTime id="0" type="encoder" wallClockTime="2026-01-31T12:00:00.250Z" presentationTime="900000" inband="true">{clock}</ProducerReferenceTime>"#
        );
        for expected in [
            r#"urn:mpeg:dash:profile:cmaf:2019,http://www.dashif.org/guidelines/low-latency-live-v5" "#,
            "\n<ServiceDescription id=\"0\"><Latency referenceId=\"0\" target=\"1200\" min=\"600\" max=\"4000\"/>\
             <PlaybackRate min=\"0.96\" max=\"1.04\"/></ServiceDescription>\n<Period ",
            r#" media="v0/$Number$.m4s" duration="180180" availabilityTimeOffset="1.788" availabilityTimeComplete="false"/>"#,
            &reference,
        ] {
            assert!(text.contains(expected), "{expected} in {text}");
        }
        assert!(!text.contains("SegmentTimeline"), "{text}");
        mpd.periods[0].adaptation_sets[0].template.segments =
            Segments::Regular(Regular { duration: 0, availability_time_offset: Duration::ZERO });
        assert_eq!(mpd.render(), Err(RenderError::NoDuration { period: 41, adaptation_set: 0 }));
    }

    #[test]
    fn a_live_mpd_by_the_byte() {
        assert_eq!(
            rendered(&live()),
            r#"<?xml version="1.0" encoding="UTF-8"?>
<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="dynamic" profiles="urn:mpeg:dash:profile:isoff-live:2011,urn:mpeg:dash:profile:cmaf:2019" availabilityStartTime="2000-01-01T00:00:00.000Z" publishTime="2026-01-31T12:00:12.100Z" minimumUpdatePeriod="PT2S" timeShiftBufferDepth="PT20S" suggestedPresentationDelay="PT6S" minBufferTime="PT2S" maxSegmentDuration="PT2.005S">
<Period id="41" start="PT823176000.25S">
<AdaptationSet id="0" contentType="video" mimeType="video/mp4" segmentAlignment="true" startWithSAP="1" par="16:9" maxWidth="1280" maxHeight="720" maxFrameRate="30">
<Role schemeIdUri="urn:mpeg:dash:role:2011" value="main"/>
<SegmentTemplate timescale="90000" presentationTimeOffset="900000" startNumber="41" initialization="v0/init-3fa1.mp4" media="v0/$Number$.m4s">
<SegmentTimeline><S t="900000" d="180000" r="2"/></SegmentTimeline>
</SegmentTemplate>
<Representation id="v0" bandwidth="3000000" codecs="avc1.64001f" width="1280" height="720" frameRate="30" sar="1:1"/>
</AdaptationSet>
<AdaptationSet id="1" contentType="audio" mimeType="audio/mp4" lang="en" segmentAlignment="true" startWithSAP="1">
<AudioChannelConfiguration schemeIdUri="urn:mpeg:dash:23003:3:audio_channel_configuration:2011" value="2"/>
<Role schemeIdUri="urn:mpeg:dash:role:2011" value="main"/>
<SegmentTemplate timescale="48000" presentationTimeOffset="480000" startNumber="41" initialization="a0/init-77b2.mp4" media="a0/$Number$.m4s">
<SegmentTimeline><S t="480000" d="96256" r="1"/><S d="95232"/></SegmentTimeline>
</SegmentTemplate>
<Representation id="a0" bandwidth="128000" codecs="mp4a.40.2" audioSamplingRate="48000"/>
</AdaptationSet>
</Period>
<UTCTiming schemeIdUri="urn:mpeg:dash:utc:http-iso:2014" value="http://example.org:8080/time?a=1&amp;b"/>
</MPD>
"#
        );
    }

    #[test]
    fn an_ended_mpd_is_static() {
        let mut mpd = live();
        mpd.ended = Some(Duration::from_millis(823_176_006_250));
        mpd.utc_timing = None;
        let text = rendered(&mpd);
        let start = text.lines().nth(1).unwrap();
        assert_eq!(
            start,
            "<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" type=\"static\" profiles=\"urn:mpeg:dash:profile:isoff-live:2011,urn:mpeg:dash:profile:cmaf:2019\" availabilityStartTime=\"2000-01-01T00:00:00.000Z\" publishTime=\"2026-01-31T12:00:12.100Z\" mediaPresentationDuration=\"PT823176006.25S\" minBufferTime=\"PT2S\" maxSegmentDuration=\"PT2.005S\">"
        );
        assert!(text.ends_with("</Period>\n</MPD>\n"));
    }

    #[test]
    fn a_period_that_continues_another() {
        let mut mpd = live();
        let mut next = mpd.periods[0].clone();
        mpd.periods[0].duration = Some(Duration::from_secs(6));
        next.id = 44;
        next.start += Duration::from_secs(9);
        next.continuity_of = Some(41);
        mpd.periods.push(next);
        let text = rendered(&mpd);
        assert!(text.contains("<Period id=\"41\" start=\"PT823176000.25S\" duration=\"PT6S\">\n"));
        assert!(text.contains("<Period id=\"44\" start=\"PT823176009.25S\">\n"));
        let property = "<SupplementalProperty schemeIdUri=\"urn:mpeg:dash:period-continuity:2015\" value=\"41\"/>\n<Role ";
        assert_eq!(text.matches(property).count(), 2);
    }

    #[test]
    fn timelines() {
        let max = u64::MAX;
        for (name, segments, expected) in [
            ("one", &[(5, 2)][..], r#"<S t="5" d="2"/>"#),
            ("a repeat", &[(5, 2), (7, 2)], r#"<S t="5" d="2" r="1"/>"#),
            ("from 0", &[(0, 2), (2, 3), (5, 3)], r#"<S t="0" d="2"/><S d="3" r="1"/>"#),
            (
                "durations that alternate",
                &[(0, 2), (2, 3), (5, 2)],
                r#"<S t="0" d="2"/><S d="3"/><S d="2"/>"#,
            ),
            ("a gap", &[(0, 2), (2, 2), (5, 2), (7, 2)], r#"<S t="0" d="2" r="1"/><S t="5" d="2" r="1"/>"#),
            ("an overlap", &[(0, 2), (1, 2)], r#"<S t="0" d="2"/><S t="1" d="2"/>"#),
            (
                "the end of 64 bits",
                &[(max - 2, 2), (max, 2), (max, 2)],
                r#"<S t="18446744073709551613" d="2" r="1"/><S t="18446744073709551615" d="2"/>"#,
            ),
        ] {
            let mut mpd = live();
            mpd.periods[0].adaptation_sets = vec![video(segments)];
            let expected = format!("<SegmentTimeline>{expected}</SegmentTimeline>");
            let text = rendered(&mpd);
            assert!(text.contains(&expected), "{name}: no {expected} in {text}");
        }
    }

    #[test]
    fn attributes_of_pictures() {
        for (size, sample_aspect_ratio, frame_rate, set, representation) in [
            (
                (1_280, 720),
                (1, 1),
                Some((30_000, 1_001)),
                " par=\"16:9\" maxWidth=\"1280\" maxHeight=\"720\" maxFrameRate=\"30000/1001\">",
                " width=\"1280\" height=\"720\" frameRate=\"30000/1001\" sar=\"1:1\"/>",
            ),
            (
                (720, 576),
                (64, 45),
                Some((50, 2)),
                " par=\"16:9\" maxWidth=\"720\" maxHeight=\"576\" maxFrameRate=\"25\">",
                " width=\"720\" height=\"576\" frameRate=\"25\" sar=\"64:45\"/>",
            ),
            (
                (640, 360),
                (0, 1),
                Some((30, 0)),
                " startWithSAP=\"1\" maxWidth=\"640\" maxHeight=\"360\">",
                " width=\"640\" height=\"360\"/>",
            ),
            (
                (u32::MAX, u32::MAX),
                (u16::MAX, 1),
                None,
                " par=\"65535:1\" maxWidth=\"4294967295\" maxHeight=\"4294967295\">",
                " height=\"4294967295\" sar=\"65535:1\"/>",
            ),
        ] {
            let mut mpd = live();
            let media = Video { width: size.0, height: size.1, sample_aspect_ratio, frame_rate };
            mpd.periods[0].adaptation_sets[0].representation.media = Media::Video(media);
            let text = rendered(&mpd);
            assert!(text.contains(set), "no {set} in {text}");
            assert!(text.contains(representation), "no {representation} in {text}");
        }
    }

    #[test]
    fn what_cannot_be_written_is_refused() {
        type Change = fn(&mut Mpd<'static, Timeline>);
        let character = |attribute, character| RenderError::Character { attribute, character };
        let rows: Vec<(&str, Change, RenderError)> = vec![
            ("no Period", |mpd| mpd.periods.clear(), RenderError::NoPeriods),
            (
                "no set",
                |mpd| mpd.periods[0].adaptation_sets.clear(),
                RenderError::NoAdaptationSets { period: 41 },
            ),
            (
                "no segment",
                |mpd| mpd.periods[0].adaptation_sets[1] = audio(&[]),
                RenderError::NoSegments { period: 41, adaptation_set: 1 },
            ),
            (
                "no duration",
                |mpd| mpd.periods[0].adaptation_sets[0] = video(&[(0, 1), (1, 0)]),
                RenderError::NoDuration { period: 41, adaptation_set: 0 },
            ),
            (
                "a number of 33 bits",
                |mpd| mpd.periods[0].adaptation_sets[0].template.start_number = 1 << 32,
                RenderError::StartNumber(1 << 32),
            ),
            ("a relative clock", |mpd| mpd.utc_timing = Some("/time"), RenderError::Form("UTCTiming@value")),
            (
                "a control character",
                |mpd| mpd.periods[0].adaptation_sets[0].template.media = "\u{1}$Number$.m4s",
                character("SegmentTemplate@media", '\u{1}'),
            ),
            (
                "no name",
                |mpd| mpd.periods[0].adaptation_sets[0].template.initialization = [""; 4],
                RenderError::Form("SegmentTemplate@initialization"),
            ),
            (
                "white space in an id",
                |mpd| mpd.periods[0].adaptation_sets[0].representation.id = "v 0",
                character("Representation@id", ' '),
            ),
            (
                "an empty id",
                |mpd| mpd.periods[0].adaptation_sets[0].representation.id = "",
                RenderError::Form("Representation@id"),
            ),
            (
                "an empty codec",
                |mpd| mpd.periods[0].adaptation_sets[0].representation.codecs = "avc1.64001f,",
                RenderError::Form("Representation@codecs"),
            ),
            (
                "a language of digits",
                |mpd| mpd.periods[0].adaptation_sets[0].lang = Some("1-en"),
                RenderError::Form("AdaptationSet@lang"),
            ),
            (
                "a long language",
                |mpd| mpd.periods[0].adaptation_sets[0].lang = Some("abcdefghi"),
                RenderError::Form("AdaptationSet@lang"),
            ),
        ];
        for (name, change, expected) in rows {
            let mut mpd = live();
            change(&mut mpd);
            assert_eq!(mpd.render(), Err(expected), "{name}");
        }
    }

    #[test]
    fn a_bandwidth_beyond_the_schema_is_the_largest_it_has() {
        let mut mpd = live();
        mpd.periods[0].adaptation_sets[0].representation.bandwidth = NonZeroU64::MAX;
        assert!(rendered(&mpd).contains(" bandwidth=\"4294967295\""));
    }

    #[test]
    fn the_longest_text_fits_the_one_allocation() {
        let mut mpd = live();
        let longest = Duration::new(u64::MAX, 999_999_999);
        mpd.minimum_update_period = longest;
        mpd.min_buffer_time = longest;
        mpd.time_shift_buffer_depth = longest;
        mpd.suggested_presentation_delay = longest;
        mpd.max_segment_duration = longest;
        let period = &mut mpd.periods[0];
        (period.id, period.start, period.duration, period.continuity_of) =
            (u64::MAX, longest, Some(longest), Some(u64::MAX));
        for set in &mut period.adaptation_sets {
            set.id = u32::MAX;
            set.representation.bandwidth = NonZeroU64::MAX;
            set.template.presentation_time_offset = u64::MAX;
            set.template.start_number = u32::MAX.into();
            set.template.media = "\"\"\"\"\"\"\"\"$Number$\"\"\"\"\"\"\"\"\"\"";
            set.template.segments = Segments::Timeline(timeline(&[(u64::MAX, u64::MAX); 300]));
            set.representation.media = Media::Video(Video {
                width: u32::MAX,
                height: u32::MAX - 1,
                sample_aspect_ratio: (u16::MAX, u16::MAX - 1),
                frame_rate: Some((u32::MAX, u32::MAX - 1)),
            });
        }
        rendered(&mpd);
    }
}
