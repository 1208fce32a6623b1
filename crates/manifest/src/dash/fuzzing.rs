//! Bodies of the fuzz targets of MPDs, with oracles; ordinary tests run them over the committed seeds.
#![allow(clippy::expect_used, clippy::panic, reason = "what a fuzz body finds, it tells by a panic")]

use std::num::NonZeroU64;
use std::time::Duration;

use headwater_media::{Timescale, WallTime};

use super::check::{Checker, Finding, MpdText, PeriodText, RepresentationText, Severity};
use super::{
    AdaptationSet, Audio, Media, Mpd, Period, Representation, SegmentTemplate, Segments, TimelineSegment,
    Video,
};
use crate::findings::are_bounded;

/// Texts of one sequence; more only repeat what two can show.
const TEXTS_MAX: usize = 4;
/// Bytes of the longest message: a few excerpts of 100 characters, each escaped as `\u{10ffff}`, and words.
const MESSAGE_BYTES_MAX: usize = 4 * 100 * 10 + 400;
/// Segments that are expanded to compare two ways of listing them.
const EXPANDED_MAX: u64 = 10_000;

/// Arbitrary texts, separated by NUL bytes, as versions of one MPD.
///
/// Holds: findings are bounded, of one line and the same for the same input; the same text again adds none; a comment
/// behind the text changes nothing; the runs of what was read follow one another, and list the same from either end.
pub fn mpd_check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let texts: Vec<&str> = text.splitn(TEXTS_MAX, '\0').collect();
    let found = observe(&texts);
    assert_eq!(found, observe(&texts), "the same texts have the same findings");
    for text in texts {
        let (mut plain, mut commented) = (Checker::new(), Checker::new());
        let found = plain.observe(text, None);
        if plain.mpd().is_some() {
            let found_behind = commented.observe(&format!("{text}\n<!-- end -->"), None);
            assert_eq!((found, plain.mpd()), (found_behind, commented.mpd()), "a comment says nothing");
        }
    }
}

fn observe(texts: &[&str]) -> Vec<Finding> {
    let mut checker = Checker::new();
    let mut all = Vec::new();
    for text in texts {
        let received_at = Some(WallTime::from_unix_millis(1_769_860_800_000));
        let found = checker.observe(text, received_at);
        assert!(are_bounded(&found), "{} findings", found.len());
        for finding in &found {
            assert!(!finding.message.contains(['\n', '\r']), "{:?} is not one line", finding.message);
            assert!(finding.message.len() <= MESSAGE_BYTES_MAX, "{:?} is long", finding.message);
        }
        let again = checker.observe(text, received_at);
        // The line that counts what is left off comes every time.
        let new = again.iter().find(|finding| !finding.message.contains("more findings that are not listed"));
        assert_eq!(new, None, "the same text again is nothing new");
        if let Some(mpd) = checker.mpd() {
            mpd.periods.iter().flat_map(PeriodText::representations).for_each(check_runs);
        }
        all.extend(found);
    }
    all
}

fn check_runs(representation: &RepresentationText) {
    let Some(template) = &representation.template else { return };
    let Some(timeline) = &template.timeline else { return };
    let mut index = 0;
    for run in &timeline.runs {
        assert_eq!(run.index, index, "runs count on");
        assert!(run.count > 0 && run.d > 0 && run.end() > run.t, "{run:?} is empty");
        index += run.count;
    }
    assert_eq!(timeline.count(), index);
    if index <= EXPANDED_MAX {
        let forwards: Vec<_> = template.segments().collect();
        let mut backwards: Vec<_> = template.newest_segments(index).collect();
        backwards.reverse();
        assert_eq!(forwards, backwards, "segments are the same from either end");
        assert_eq!(forwards.len() as u64, index);
    }
}

/// A stream made from bytes, whose window slides over its Periods, rendered at every step.
///
/// Holds: the checker, which reads the text on its own, finds nothing in the whole sequence while the clock says that
/// all is there, and finds what is announced too early when it says otherwise; what it read is the model; the text fits
/// what was set aside for it.
pub fn mpd_render(data: &[u8]) {
    let mut bytes = data.iter().copied();
    let stream = Stream::from_bytes(&mut bytes);
    let mut checker = Checker::new();
    let mut first = 0_usize;
    for end in 1..=stream.segments.len() {
        while first + 1 < end && bytes.next().is_some_and(|byte| byte & 1 == 1) {
            first += 1;
        }
        let ended = stream.ends && end == stream.segments.len();
        let mpd = stream.mpd(first, end, ended);
        let text = mpd.render().expect("every set has a segment");
        assert!(text.len() <= mpd.len_max(), "{} bytes are more than {}", text.len(), mpd.len_max());
        let text = String::from_utf8(text).expect("an MPD is UTF-8");
        let there = stream.available_at(end);
        let found = checker.observe(&text, Some(there));
        assert!(found.is_empty(), "{found:#?}\nin\n{text}");
        let read = checker.mpd().expect("a rendered MPD has Periods");
        assert_read(&mpd, read);
        if !ended {
            let early = Checker::new().observe(&text, Some(there.offset_by(-1_000)));
            let announced =
                |finding: &Finding| finding.rule == "dash 5.1" && finding.severity == Severity::Error;
            assert!(early.iter().any(announced), "nothing is early in\n{text}");
        }
        #[cfg(test)]
        tests::assert_dash_mpd(&mpd, &text);
    }
}

/// Segments of a stream; most that one input makes.
const SEGMENTS_MAX: usize = 48;
/// 2000-01-01T00:00:00Z.
const AVAILABILITY_START_MS: i64 = 946_684_800_000;
/// Names that need every escape there is, and none.
const FOLDERS: [&str; 4] = ["", "v/", "a&b<c>\"d'/", "\u{e9}$$\t/"];

struct StreamSegment {
    /// Index into [`Stream::periods`].
    period: usize,
    video: TimelineSegment,
    audio: TimelineSegment,
}

struct StreamPeriod {
    /// Index of its first segment.
    first: usize,
    start_ms: u64,
    continuity: bool,
    says_duration: bool,
}

struct Stream {
    video_scale: Timescale,
    audio_scale: Timescale,
    has_video: bool,
    has_audio: bool,
    ends: bool,
    video: Video,
    lang: Option<&'static str>,
    start_number: u64,
    media: [String; 2],
    initialization: String,
    periods: Vec<StreamPeriod>,
    segments: Vec<StreamSegment>,
}

type Timeline = std::vec::IntoIter<TimelineSegment>;

impl Stream {
    fn from_bytes(bytes: &mut impl Iterator<Item = u8>) -> Stream {
        let mut next = || u64::from(bytes.next().unwrap_or(0));
        let flags = next();
        let pick = |list: &[u32], n: u64| {
            let hz = usize::try_from(n).ok().and_then(|n| list.get(n % list.len())).copied();
            Timescale::new(hz.unwrap_or(90_000)).expect("every rate in the lists is a timescale")
        };
        let video_scale = pick(&[90_000, 1_000, 30_000, 1_000_000], next());
        let audio_scale = pick(&[48_000, 44_100, 24_000, 1_000_000], next());
        let count = usize::try_from(next()).unwrap_or(0) % SEGMENTS_MAX + 1;
        let start_number = (next() << 24 | next() << 16 | next() << 8 | next()) % (1 << 31);
        let small = |n: u64| u16::try_from(n).unwrap_or(u16::MAX);
        let video = Video {
            width: u32::from(small(next() << 4)),
            height: u32::from(small(next() << 4)),
            sample_aspect_ratio: (small(next()), small(next())),
            frame_rate: Some((u32::from(small(next())) * 1_000, 1_000 + u32::from(small(next() & 1)))),
        };
        let folder =
            |n: u64| usize::try_from(n).ok().and_then(|n| FOLDERS.get(n % FOLDERS.len())).unwrap_or(&"");
        let (video_folder, audio_folder) = (folder(next()), folder(next()));
        let (video_hz, audio_hz) = (u64::from(video_scale.hz()), u64::from(audio_scale.hz()));
        // Media time of the first sample in seconds: up to 2^33 at 90 kHz and beyond.
        let origin = next() << 16 | next() << 8 | next();
        let (mut video_t, mut audio_t) = (origin * video_hz, origin * audio_hz);
        let mut start_ms = 823_176_000_000 + next();
        let mut periods = vec![StreamPeriod { first: 0, start_ms, continuity: false, says_duration: false }];
        let (mut video_from, mut audio_from) = (video_t, audio_t);
        let mut segments = Vec::new();
        for index in 0..count {
            let flags = next();
            if index > 0 && flags & 7 == 7 {
                let media_ms =
                    ceil_ms(video_t - video_from, video_hz).max(ceil_ms(audio_t - audio_from, audio_hz));
                start_ms += media_ms + next() * 100;
                periods.push(StreamPeriod {
                    first: index,
                    start_ms,
                    continuity: flags & 8 == 8,
                    says_duration: flags & 16 == 16,
                });
                (video_from, audio_from) = (video_t, audio_t);
            }
            // One to three seconds and a bit, mostly two: runs and single segments.
            let ms = if flags & 96 == 0 { 2_000 } else { 1_000 + (next() << 3) };
            let video = TimelineSegment { t: video_t, d: ms * video_hz / 1_000 };
            video_t += video.d;
            // Audio ends with the first frame at or behind the end of the video.
            let wanted = (video_t - video_from) * audio_hz / video_hz;
            let frames = wanted.saturating_sub(audio_t - audio_from).div_ceil(1_024).max(1);
            let audio = TimelineSegment { t: audio_t, d: frames * 1_024 };
            audio_t += audio.d;
            segments.push(StreamSegment { period: periods.len() - 1, video, audio });
        }
        Stream {
            video_scale,
            audio_scale,
            has_video: flags & 3 != 1,
            has_audio: flags & 3 != 2,
            ends: flags & 4 == 4,
            video,
            lang: (flags & 8 == 8).then_some("en-GB"),
            start_number,
            media: [video_folder, audio_folder].map(|folder| format!("{folder}$Number$.m4s")),
            initialization: format!("{video_folder}init-3fa1.mp4"),
            periods,
            segments,
        }
    }

    /// The MPD that lists the segments `first..end`.
    fn mpd(&self, first: usize, end: usize, ended: bool) -> Mpd<'_, Timeline> {
        let shown = self.segments.get(first..end).unwrap_or_default();
        let last_period = shown.last().map_or(0, |segment| segment.period);
        let first_period = shown.first().map_or(0, |segment| segment.period);
        let mut periods = Vec::new();
        for (index, period) in
            self.periods.iter().enumerate().skip(first_period).take(last_period - first_period + 1)
        {
            let origin = self.segments.get(period.first).expect("a Period has a segment");
            let sets = [
                (self.has_video, self.video_set(shown, index, origin)),
                (self.has_audio, self.audio_set(shown, index, origin)),
            ];
            let number = |index: usize| self.start_number + index as u64;
            let mut adaptation_sets: Vec<_> =
                sets.into_iter().filter(|(has, _)| *has).map(|(_, set)| set).collect();
            for set in &mut adaptation_sets {
                set.template.start_number = number(first.max(period.first));
            }
            let duration = (period.says_duration && index < last_period)
                .then(|| Duration::from_millis(self.media_ms(index, self.segments.len())));
            periods.push(Period {
                id: number(period.first),
                start: Duration::from_millis(period.start_ms),
                duration,
                continuity_of: (period.continuity && index > 0)
                    .then(|| self.periods.get(index - 1).map_or(0, |before| number(before.first))),
                adaptation_sets,
            });
        }
        let longest = self.segments.iter().map(|segment| {
            ceil_ms(segment.video.d, self.video_scale.hz().into())
                .max(ceil_ms(segment.audio.d, self.audio_scale.hz().into()))
        });
        let end_ms = self.periods.get(last_period).map_or(0, |period| period.start_ms)
            + self.media_ms(last_period, end);
        Mpd {
            availability_start_time: WallTime::from_unix_millis(AVAILABILITY_START_MS),
            publish_time: self.available_at(end).offset_by(i64::from(ended)),
            minimum_update_period: Duration::from_secs(2),
            min_buffer_time: Duration::from_secs(2),
            time_shift_buffer_depth: Duration::from_secs(20),
            suggested_presentation_delay: Duration::from_secs(6),
            max_segment_duration: Duration::from_millis(longest.max().unwrap_or(0)),
            ended: ended.then(|| Duration::from_millis(end_ms)),
            utc_timing: Some("http://[::1]:8080/time?a=1&b=\"2\""),
            latency: None,
            periods,
        }
    }

    fn video_set(
        &self,
        shown: &[StreamSegment],
        period: usize,
        origin: &StreamSegment,
    ) -> AdaptationSet<'_, Timeline> {
        let timeline: Vec<_> =
            shown.iter().filter(|segment| segment.period == period).map(|segment| segment.video).collect();
        AdaptationSet {
            id: 0,
            lang: None,
            representation: Representation {
                id: "v&0",
                bandwidth: NonZeroU64::new(3_000_000).expect("it is not 0"),
                codecs: "avc1.64001f",
                media: Media::Video(self.video),
            },
            producer_reference: None,
            event_schemes: &["urn:scte:scte35:2013:bin", "https://aomedia.org/emsg/ID3"],
            template: SegmentTemplate {
                timescale: self.video_scale,
                presentation_time_offset: origin.video.t,
                start_number: 0,
                initialization: [&self.initialization, "", "", ""],
                media: self.media.first().map_or("", |media| media),
                segments: Segments::Timeline(timeline.into_iter()),
            },
        }
    }

    fn audio_set(
        &self,
        shown: &[StreamSegment],
        period: usize,
        origin: &StreamSegment,
    ) -> AdaptationSet<'_, Timeline> {
        let timeline: Vec<_> =
            shown.iter().filter(|segment| segment.period == period).map(|segment| segment.audio).collect();
        AdaptationSet {
            id: 1,
            lang: self.lang,
            representation: Representation {
                id: "a0",
                bandwidth: NonZeroU64::new(128_000).expect("it is not 0"),
                codecs: "mp4a.40.2",
                media: Media::Audio(Audio { sampling_rate: self.audio_scale.hz(), channels: 2 }),
            },
            producer_reference: None,
            event_schemes: &[],
            template: SegmentTemplate {
                timescale: self.audio_scale,
                presentation_time_offset: origin.audio.t,
                start_number: 0,
                initialization: [&self.initialization, "", "", ""],
                media: self.media.last().map_or("", |media| media),
                segments: Segments::Timeline(timeline.into_iter()),
            },
        }
    }

    /// Milliseconds of media of a Period whose segments up to `end` are there, of the longer track, rounded up.
    fn media_ms(&self, period: usize, end: usize) -> u64 {
        let Some(origin) = self.periods.get(period).and_then(|period| self.segments.get(period.first)) else {
            return 0;
        };
        let there = self.segments.get(..end).unwrap_or_default();
        let Some(last) = there.iter().rfind(|segment| segment.period == period) else { return 0 };
        let ms = |has: bool, hz: u32, from: TimelineSegment, to: TimelineSegment| {
            if has { ceil_ms(to.t + to.d - from.t, hz.into()) } else { 0 }
        };
        let video = ms(self.has_video, self.video_scale.hz(), origin.video, last.video);
        video.max(ms(self.has_audio, self.audio_scale.hz(), origin.audio, last.audio))
    }

    /// When the segments up to `end` are all there.
    fn available_at(&self, end: usize) -> WallTime {
        let period =
            end.checked_sub(1).and_then(|last| self.segments.get(last)).map_or(0, |last| last.period);
        let start_ms = self.periods.get(period).map_or(0, |period| period.start_ms);
        let ms = i64::try_from(start_ms + self.media_ms(period, end)).unwrap_or(i64::MAX);
        WallTime::from_unix_millis(AVAILABILITY_START_MS).offset_by(ms)
    }
}

/// Milliseconds of ticks, rounded up.
fn ceil_ms(ticks: u64, hz: u64) -> u64 {
    (ticks * 1_000).div_ceil(hz)
}

fn micros(duration: Duration) -> Option<i64> {
    i64::try_from(duration.as_micros()).ok()
}

/// What the checker read is what was rendered.
fn assert_read(mpd: &Mpd<'_, Timeline>, read: &MpdText) {
    let live = |duration| if mpd.ended.is_none() { micros(duration) } else { None };
    assert_eq!(read.dynamic, mpd.ended.is_none());
    assert_eq!(read.availability_start_time_us, Some(mpd.availability_start_time.unix_millis() * 1_000));
    assert_eq!(read.publish_time_us, Some(mpd.publish_time.unix_millis() * 1_000));
    assert_eq!(read.minimum_update_period_us, live(mpd.minimum_update_period));
    assert_eq!(read.time_shift_buffer_depth_us, live(mpd.time_shift_buffer_depth));
    assert_eq!(read.suggested_presentation_delay_us, live(mpd.suggested_presentation_delay));
    assert_eq!(read.min_buffer_time_us, micros(mpd.min_buffer_time));
    assert_eq!(read.max_segment_duration_us, micros(mpd.max_segment_duration));
    assert_eq!(read.media_presentation_duration_us, mpd.ended.and_then(micros));
    assert_eq!(read.utc_timings.first().map(|(_, url)| url.as_str()), mpd.utc_timing);
    assert_eq!(read.periods.len(), mpd.periods.len());
    for (read, period) in read.periods.iter().zip(&mpd.periods) {
        assert_eq!(read.id, Some(period.id.to_string()));
        assert_eq!(read.start_us, micros(period.start));
        assert_eq!(read.duration_us, period.duration.and_then(micros));
        assert_eq!(read.adaptation_sets.len(), period.adaptation_sets.len());
        for (read, set) in read.adaptation_sets.iter().zip(&period.adaptation_sets) {
            assert_eq!(read.id, Some(set.id.to_string()));
            assert_eq!(read.lang.as_deref(), set.lang);
            let continuity: Vec<String> = period.continuity_of.iter().map(u64::to_string).collect();
            assert_eq!(read.continuity_of, continuity);
            let [read] = read.representations.as_slice() else { panic!("one Representation in {read:?}") };
            assert_eq!(read.id, set.representation.id);
            assert_eq!(read.bandwidth, set.representation.bandwidth.get());
            assert_eq!(read.codecs.as_deref(), Some(set.representation.codecs));
            let template = read.template.as_ref().expect("a set has a template");
            assert_eq!(template.timescale, u64::from(set.template.timescale.hz()));
            assert_eq!(template.presentation_time_offset, set.template.presentation_time_offset);
            assert_eq!(
                template.initialization.as_deref(),
                Some(set.template.initialization.concat().as_str())
            );
            assert_eq!(template.media.as_deref(), Some(set.template.media));
            let expected: Vec<_> = (set.template.start_number..)
                .zip(set.template.timeline().expect("it has one").clone())
                .map(|(number, TimelineSegment { t, d })| (number, t, d))
                .collect();
            assert_eq!(template.segments().collect::<Vec<_>>(), expected);
        }
    }
}

#[cfg(test)]
mod tests {
    use headwater_testkit::seeds::over_seeds;
    use proptest::prelude::*;

    use super::*;

    /// The same by a parser that shares no code with ours but the reading of XML.
    pub(super) fn assert_dash_mpd(mpd: &Mpd<'_, Timeline>, text: &str) {
        let read = dash_mpd_core::parse(text).expect("dash-mpd reads what was rendered");
        let ms = |date: Option<dash_mpd_core::XsDatetime>| date.map(|date| date.timestamp_millis());
        assert_eq!(read.mpdtype.as_deref(), Some(if mpd.ended.is_some() { "static" } else { "dynamic" }));
        assert_eq!(ms(read.availabilityStartTime), Some(mpd.availability_start_time.unix_millis()));
        assert_eq!(ms(read.publishTime), Some(mpd.publish_time.unix_millis()));
        let live = |duration| mpd.ended.is_none().then_some(duration);
        assert_eq!(read.minimumUpdatePeriod, live(mpd.minimum_update_period));
        assert_eq!(read.timeShiftBufferDepth, live(mpd.time_shift_buffer_depth));
        assert_eq!(read.suggestedPresentationDelay, live(mpd.suggested_presentation_delay));
        assert_eq!(read.minBufferTime, Some(mpd.min_buffer_time));
        assert_eq!(read.maxSegmentDuration, Some(mpd.max_segment_duration));
        assert_eq!(read.mediaPresentationDuration, mpd.ended);
        assert_eq!(read.UTCTiming.first().and_then(|timing| timing.value.as_deref()), mpd.utc_timing);
        assert_eq!(read.periods.len(), mpd.periods.len());
        for (read, period) in read.periods.iter().zip(&mpd.periods) {
            assert_eq!(read.id, Some(period.id.to_string()));
            assert_eq!(read.start, Some(period.start));
            assert_eq!(read.duration, period.duration);
            assert_eq!(read.adaptations.len(), period.adaptation_sets.len());
            for (read, set) in read.adaptations.iter().zip(&period.adaptation_sets) {
                assert_dash_mpd_set(set, read);
            }
        }
    }

    fn assert_dash_mpd_set(set: &AdaptationSet<'_, Timeline>, read: &dash_mpd_core::AdaptationSet) {
        assert_eq!(read.id, Some(set.id.to_string()));
        assert_eq!(read.lang.as_deref(), set.lang);
        assert_eq!(read.segmentAlignment, Some(true));
        assert_eq!(read.startWithSAP, Some(1));
        let [representation] = read.representations.as_slice() else {
            panic!("one Representation in {read:?}")
        };
        assert_eq!(representation.id.as_deref(), Some(set.representation.id));
        assert_eq!(representation.bandwidth, Some(set.representation.bandwidth.get()));
        assert_eq!(representation.codecs.as_deref(), Some(set.representation.codecs));
        match set.representation.media {
            Media::Video(video) => {
                assert_eq!(read.contentType.as_deref(), Some("video"));
                assert_eq!(representation.width, Some(video.width.into()));
                assert_eq!(representation.height, Some(video.height.into()));
                assert_eq!(representation.frameRate, read.maxFrameRate);
            }
            Media::Audio(audio) => {
                assert_eq!(read.contentType.as_deref(), Some("audio"));
                assert_eq!(representation.audioSamplingRate, Some(audio.sampling_rate.to_string()));
                let channels =
                    read.AudioChannelConfiguration.first().and_then(|channels| channels.value.clone());
                assert_eq!(channels, Some(audio.channels.to_string()));
            }
        }
        let template = read.SegmentTemplate.as_ref().expect("a set has a template");
        assert_eq!(template.timescale, Some(set.template.timescale.hz().into()));
        assert_eq!(template.presentationTimeOffset, Some(set.template.presentation_time_offset));
        assert_eq!(template.startNumber, Some(set.template.start_number));
        assert_eq!(template.initialization.as_deref(), Some(set.template.initialization.concat().as_str()));
        assert_eq!(template.media.as_deref(), Some(set.template.media));
        let mut segments = Vec::new();
        let mut t = 0;
        for s in &template.SegmentTimeline.as_ref().expect("a template has a timeline").segments {
            t = s.t.unwrap_or(t);
            for _ in 0..=s.r.unwrap_or(0) {
                segments.push(TimelineSegment { t, d: s.d });
                t += s.d;
            }
        }
        assert_eq!(segments, set.template.timeline().expect("it has one").clone().collect::<Vec<_>>());
    }

    #[test]
    fn mpd_check_over_seeds() {
        over_seeds("mpd_check", mpd_check);
    }

    #[test]
    fn mpd_render_over_seeds() {
        over_seeds("mpd_render", mpd_render);
    }

    proptest! {
        #[test]
        fn mpd_check_over_bytes(data in proptest::collection::vec(any::<u8>(), 0..400)) {
            mpd_check(&data);
        }

        #[test]
        fn mpd_check_over_timelines(
            text in "(<S( t=\"[0-9]{1,20}\")?( d=\"[0-9]{1,20}\")?( r=\"-?[0-9]{1,20}\")?/>){0,12}",
            number in any::<u32>(),
        ) {
            let mpd = format!(
                "<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" type=\"dynamic\" availabilityStartTime=\"2000-01-01T00:00:00Z\" \
                 publishTime=\"2026-01-31T12:00:00Z\"><Period id=\"0\" start=\"PT0S\"><AdaptationSet contentType=\"video\">\
                 <SegmentTemplate startNumber=\"{number}\" media=\"$Number$\"><SegmentTimeline>{text}</SegmentTimeline>\
                 </SegmentTemplate><Representation id=\"0\"/></AdaptationSet></Period></MPD>"
            );
            let next = mpd.replace("r=\"", "r=\"1");
            mpd_check(format!("{mpd}\0{next}").as_bytes());
        }

        #[test]
        fn mpd_render_over_bytes(data in proptest::collection::vec(any::<u8>(), 0..300)) {
            mpd_render(&data);
        }
    }
}
