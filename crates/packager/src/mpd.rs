//! A snapshot in the words of DASH.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use headwater_cmaf::InitSegment;
use headwater_manifest::dash::{
    AdaptationSet, Audio, Latency, Media, Mpd, Period as MpdPeriod, ProducerReference, Regular,
    Representation, SegmentTemplate, Segments as Numbering, TimelineSegment, Video,
};
use headwater_media::{MediaTime, Timescale, TrackKind, WallTime};

use crate::metadata::SCHEMES;
use crate::over::PeriodOver;
use crate::playlist::init_name;
use crate::snapshot::{Bandwidth, Cadence, Cmaf, CmafSegment, Period, Snapshot, State, agrees};
use crate::window::span;

/// 2000-01-01T00:00:00Z: constant for ever, and not 1970, which ffmpeg takes for absent (DESIGN 5).
const AVAILABILITY_START: WallTime = WallTime::from_unix_millis(946_684_800_000);

/// Target durations that a player stays behind the live edge, as in HLS.
const TARGET_DURATIONS_BEHIND: u32 = 3;

/// How far behind the live edge players of low latency are asked to be, in part targets: two chunks to come, and what a request,
/// a decoder and a busy machine take. At least so much, at most so many times as much.
const PARTS_BEHIND: u32 = 4;
const PARTS_BEHIND_MIN: u32 = 1;
const LATENCIES_BEHIND_MAX: u32 = 4;

/// MPD@minBufferTime of low latency, in part targets.
const PARTS_BUFFERED: u32 = 2;

/// How much slower or faster players may play to get there; more can be heard.
const PLAYBACK_RATE_PERCENT: (u32, u32) = (96, 104);

/// A Period starts so long before its first picture, and its media times with it. dash.js 5.2 that joins a stream in its first
/// seconds starts at Period@start; where that equals the first picture's time, Chromium finds no data there, and the player
/// stands still until the window has moved on (17.5 s in two of two runs; 0.6 s with 1 ms).
const LEAD_MS: i64 = 1;

/// A segment passes the target duration by less than this.
const OVERRUN: Duration = Duration::from_millis(500);

/// What one track contributes to one Period.
struct Track<'a> {
    kind: TrackKind,
    segments: Segments<'a>,
    init: &'a InitSegment,
}

/// The segments that are listed of a Period.
#[derive(Clone, Copy)]
enum Segments<'a> {
    /// Those of this process.
    Kept(&'a [Arc<CmafSegment>]),
    /// The one of an earlier process.
    Over(&'a CmafSegment),
}

impl<'a> Segments<'a> {
    fn iter(self) -> impl DoubleEndedIterator<Item = &'a CmafSegment> + Clone {
        let (kept, over) = match self {
            Segments::Kept(kept) => (kept, None),
            Segments::Over(over) => (&[][..], Some(over)),
        };
        kept.iter().map(AsRef::as_ref).chain(over)
    }

    fn timeline(self) -> impl Iterator<Item = TimelineSegment> + Clone {
        self.iter().map(|segment| TimelineSegment { t: ticks(segment.start), d: ticks(segment.duration) })
    }
}

impl<'a> Track<'a> {
    fn new(cmaf: &'a Cmaf, kind: TrackKind, period: &Period) -> Option<Track<'a>> {
        if let Some(over) = over(cmaf, period) {
            let segment = over.segment(kind)?;
            return Some(Track { kind, segments: Segments::Over(segment), init: &segment.init });
        }
        let listed = &cmaf.rendition(kind)?.listed;
        // Sound ends a few frames later than its picture: what not every track has yet is not announced.
        let is_there = |segment: &Arc<CmafSegment>| {
            segment.period == period.id && segment.sequence < cmaf.complete_below
        };
        // A Period's segments lie side by side.
        let first = listed.iter().position(is_there)?;
        let kept = listed.get(first..=listed.iter().rposition(is_there)?)?;
        Some(Track { kind, segments: Segments::Kept(kept), init: &kept.first()?.init })
    }

    /// As [`Track::new`], also of a Period of which only the segment under construction is there.
    fn growing(cmaf: &'a Cmaf, kind: TrackKind, period: &Period) -> Option<Track<'a>> {
        let edge = || {
            let edge = cmaf.rendition(kind)?.edge.as_ref().filter(|edge| edge.period == period.id)?;
            Some(Track { kind, segments: Segments::Kept(&[]), init: &edge.init })
        };
        Track::new(cmaf, kind, period).or_else(edge)
    }

    /// Media time of its end in milliseconds.
    fn end_ms(&self) -> i64 {
        let end = |segment: &CmafSegment| segment.start.offset_by(segment.duration.ticks()).millis();
        self.segments.iter().next_back().map_or(0, end)
    }

    /// Event messages come with the pictures, or with the sound where there are none.
    fn carries_events(&self, period: &Period) -> bool {
        self.kind == TrackKind::Video || period.tracks.video.is_none()
    }

    /// `regular`: segments number themselves by time.
    fn adaptation_set(
        &self,
        cmaf: &'a Cmaf,
        period: &'a Period,
        regular: Option<Regular>,
    ) -> Option<AdaptationSet<'a, impl Iterator<Item = TimelineSegment> + Clone + use<'a>>> {
        let (id, name, codecs, bandwidth, media) = match self.kind {
            TrackKind::Video => {
                let video = period.tracks.video.as_deref()?;
                let media = Media::Video(Video {
                    width: video.width,
                    height: video.height,
                    sample_aspect_ratio: video.sample_aspect_ratio,
                    // Of what an earlier process has measured the outcome is known.
                    frame_rate: match over(cmaf, period) {
                        Some(_) => video.frame_rate,
                        None => announced_rate(video.frame_rate, cmaf.frame_rate_millihertz),
                    },
                });
                (1, "video", &video.codec_string, cmaf.video_bandwidth, media)
            }
            TrackKind::Audio => {
                let audio = period.tracks.audio.as_deref()?;
                let media =
                    Media::Audio(Audio { sampling_rate: audio.output_sample_rate, channels: audio.channels });
                (2, "audio", &audio.codec_string, cmaf.audio_bandwidth, media)
            }
        };
        let [init, hash, suffix] = init_name(self.init);
        let (folder, media_template) = match self.kind {
            TrackKind::Video => ("video/", "video/$Number$.m4s"),
            TrackKind::Audio => ("audio/", "audio/$Number$.m4s"),
        };
        let initialization = [folder, init, hash, suffix];
        let peak = bandwidth.map_or(1, |Bandwidth { peak, .. }| peak);
        Some(AdaptationSet {
            id,
            lang: None,
            representation: Representation {
                id: name,
                bandwidth: NonZeroU64::new(peak).unwrap_or(NonZeroU64::MIN),
                codecs,
                media,
            },
            producer_reference: regular.map(|_| ProducerReference {
                wall_clock: period.start,
                presentation_time: ticks(period.media_start),
                inband: self.kind == TrackKind::Video,
            }),
            event_schemes: if cmaf.timed_metadata && self.carries_events(period) { &SCHEMES } else { &[] },
            template: match regular {
                // All in the scale of the cuts, whatever the track's own: a duration of sound would be rounded, again and again.
                Some(regular) => SegmentTemplate {
                    timescale: Timescale::MPEG,
                    presentation_time_offset: ticks(origin(period)),
                    start_number: period.id,
                    initialization,
                    media: media_template,
                    segments: Numbering::Regular(regular),
                },
                None => {
                    let first = self.segments.iter().next()?;
                    SegmentTemplate {
                        timescale: first.start.scale(),
                        presentation_time_offset: ticks(origin(period).rescale(first.start.scale())),
                        start_number: first.sequence,
                        initialization,
                        media: media_template,
                        segments: Numbering::Timeline(self.segments.timeline()),
                    }
                }
            },
        })
    }
}

/// One Period of the MPD under construction.
struct Stretch<'a> {
    period: &'a Period,
    /// Video, and audio.
    tracks: [Option<Track<'a>>; 2],
    start: Duration,
    media: Duration,
}

pub(crate) fn mpd(snapshot: &Snapshot, utc_timing: Option<&str>) -> Option<Vec<u8>> {
    render(snapshot.cmaf.as_ref()?, snapshot.state == State::Ended, utc_timing)
}

/// What has ended lists what is left, as the other MPD does.
pub(crate) fn low_latency_mpd(snapshot: &Snapshot, utc_timing: Option<&str>) -> Option<Vec<u8>> {
    let cmaf = snapshot.cmaf.as_ref()?;
    match snapshot.state {
        State::Ended => render(cmaf, true, utc_timing),
        State::Starting | State::Live | State::Waiting => render_low_latency(cmaf, utc_timing),
    }
}

/// The MPD of the packaging alone.
pub(crate) fn render(cmaf: &Cmaf, is_ended: bool, utc_timing: Option<&str>) -> Option<Vec<u8>> {
    if !cmaf.is_playable() {
        return None;
    }
    // What has ended lists what is there.
    let over = cmaf.over.iter().filter(|_| !is_ended).map(|over| &over.period);
    let stretches = stretches(cmaf, over.chain(&cmaf.periods), Track::new);
    let target = target_duration(cmaf)?;
    let end = stretches.last().map(|last| last.start.saturating_add(last.media));
    let mpd = Mpd {
        availability_start_time: AVAILABILITY_START,
        publish_time: cmaf.published_at,
        minimum_update_period: target,
        min_buffer_time: target,
        time_shift_buffer_depth: cmaf.window.max(target * TARGET_DURATIONS_BEHIND),
        suggested_presentation_delay: target * TARGET_DURATIONS_BEHIND,
        // A Period that is over may be of a process with another target.
        max_segment_duration: longest(&stretches).max(target + OVERRUN),
        ended: end.filter(|_| is_ended),
        utc_timing,
        latency: None,
        periods: periods_of(cmaf, &stretches, is_ended, |_| None)?,
    };
    mpd.render().ok()
}

/// The MPD of low latency: Periods whose segments number themselves by time, up to the newest one.
pub(crate) fn render_low_latency(cmaf: &Cmaf, utc_timing: Option<&str>) -> Option<Vec<u8>> {
    let part_target = cmaf.part_target.filter(|_| cmaf.is_playable())?;
    let regular = |period: &Period| match period.cadence {
        Cadence::Regular(duration) => Some(Regular {
            duration,
            // A chunk is there once it is complete (cmaf-dash.md 7.1).
            availability_time_offset: Duration::from_millis(duration / 90).saturating_sub(part_target),
        }),
        Cadence::Unknown | Cadence::Irregular => None,
    };
    let periods = || cmaf.over.iter().map(|over| &over.period).chain(&cmaf.periods);
    let irregular = periods().zip(1..).filter(|(period, _)| regular(period).is_none()).last();
    let listed = || periods().skip(irregular.map_or(0, |(_, behind)| behind));
    let stretches = stretches(cmaf, listed(), Track::growing);
    // The newest Period is what it is all about.
    let newest = cmaf.periods.last()?;
    stretches.last().filter(|last| last.period.id == newest.id)?;
    let target = target_duration(cmaf)?;
    let latency = part_target * PARTS_BEHIND;
    // No longer than it has to be: shaka stays behind by what it is beyond availabilityTimeOffset.
    let regular_ticks = listed().filter_map(regular).map(|regular| regular.duration).max()?;
    let longest = longest(&stretches).max(Duration::from_millis(regular_ticks.div_ceil(90)));
    let mpd = Mpd {
        availability_start_time: AVAILABILITY_START,
        publish_time: cmaf.low_latency_published_at,
        // Another Period may come at any time.
        minimum_update_period: target,
        min_buffer_time: part_target * PARTS_BUFFERED,
        time_shift_buffer_depth: cmaf.window.max(target * TARGET_DURATIONS_BEHIND),
        suggested_presentation_delay: latency,
        max_segment_duration: longest,
        ended: None,
        utc_timing,
        latency: Some(Latency {
            target: latency,
            min: part_target * PARTS_BEHIND_MIN,
            max: latency * LATENCIES_BEHIND_MAX,
            playback_rate_percent: PLAYBACK_RATE_PERCENT,
        }),
        // Open also while the publisher is away: dash.js 5.2.1 takes a last Period with a duration for the end of everything, and
        // Chromium does not play on behind one.
        periods: periods_of(cmaf, &stretches, false, regular)?,
    };
    mpd.render().ok()
}

fn target_duration(cmaf: &Cmaf) -> Option<Duration> {
    let target = cmaf.renditions().map(|rendition| rendition.target_duration).max()?;
    Some(Duration::from_secs(u64::from(target)))
}

/// The longest segment that is listed, in whole milliseconds, rounded up.
fn longest(stretches: &[Stretch<'_>]) -> Duration {
    let tracks = stretches.iter().flat_map(|stretch| stretch.tracks.iter().flatten());
    let segments = tracks.flat_map(|track| track.segments.iter());
    let longest = segments.map(|segment| span(segment.duration)).max().unwrap_or_default();
    Duration::from_millis(u64::try_from(longest.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX))
}

/// What is listed of these Periods.
fn stretches<'a>(
    cmaf: &'a Cmaf,
    periods: impl Iterator<Item = &'a Period>,
    track: impl Fn(&'a Cmaf, TrackKind, &Period) -> Option<Track<'a>>,
) -> Vec<Stretch<'a>> {
    let mut stretches: Vec<Stretch<'a>> =
        periods.filter_map(|period| stretch(cmaf, period, &track)).collect();
    // The newest Period is right by the clock as it is now; those before it that start later were dated by another one.
    // A Period whose track was away and has come back no longer lists that track: it leaves as a whole.
    let incomplete = stretches.iter().rposition(|stretch| {
        let tracks = &stretch.period.tracks;
        let count = usize::from(tracks.video.is_some()) + usize::from(tracks.audio.is_some());
        stretch.tracks.iter().flatten().count() < count
    });
    stretches.drain(..incomplete.map_or(0, |index| index + 1));
    let future = stretches.windows(2).rposition(|pair| match pair {
        [earlier, later] => earlier.start >= later.start,
        _ => false,
    });
    stretches.drain(..future.map_or(0, |index| index + 1));
    stretches
}

fn periods_of<'a>(
    cmaf: &'a Cmaf,
    stretches: &[Stretch<'a>],
    is_ended: bool,
    regular: impl Fn(&Period) -> Option<Regular>,
) -> Option<Vec<MpdPeriod<'a, impl Iterator<Item = TimelineSegment> + Clone>>> {
    let starts = stretches.iter().skip(1).map(|next| Some(next.start)).chain(std::iter::once(None));
    let mut periods = Vec::with_capacity(stretches.len());
    for (stretch, next) in stretches.iter().zip(starts) {
        let set = |track: &Track<'a>| track.adaptation_set(cmaf, stretch.period, regular(stretch.period));
        let mut adaptation_sets = Vec::with_capacity(stretch.tracks.len());
        for track in stretch.tracks.iter().flatten() {
            adaptation_sets.push(set(track)?);
        }
        // A Period ends where its media does, or where the next one begins if the wall clock fell behind the media.
        let duration = next.map(|next| stretch.media.min(next.saturating_sub(stretch.start)));
        periods.push(MpdPeriod {
            id: stretch.period.id,
            start: stretch.start,
            duration: duration.or(is_ended.then_some(stretch.media)),
            continuity_of: stretch
                .period
                .continues
                .filter(|id| cmaf.periods.iter().any(|period| period.id == *id)),
            adaptation_sets,
        });
    }
    Some(periods)
}

fn stretch<'a>(
    cmaf: &'a Cmaf,
    period: &'a Period,
    track: impl Fn(&'a Cmaf, TrackKind, &Period) -> Option<Track<'a>>,
) -> Option<Stretch<'a>> {
    let tracks = [TrackKind::Video, TrackKind::Audio].map(|kind| track(cmaf, kind, period));
    let end_ms = tracks.iter().flatten().map(Track::end_ms).max()?;
    let start_ms = period.start.offset_by(-LEAD_MS).unix_millis();
    let start_ms = start_ms.saturating_sub(AVAILABILITY_START.unix_millis());
    let span = |ms: i64| Duration::from_millis(ms.max(0).unsigned_abs());
    Some(Stretch {
        period,
        tracks,
        start: span(start_ms),
        media: span(end_ms.saturating_sub(origin(period).millis())),
    })
}

/// The Period of an earlier process, if it is that.
fn over<'a>(cmaf: &'a Cmaf, period: &Period) -> Option<&'a PeriodOver> {
    cmaf.over.as_deref().filter(|over| over.period.id == period.id)
}

/// Frames per second of a Period: what its bitstream states, where the measurement agrees, for a measured rate would move.
pub(crate) fn announced_rate(
    stated: Option<(u32, u32)>,
    measured_millihertz: Option<u32>,
) -> Option<(u32, u32)> {
    let stated = stated.filter(|stated| measured_millihertz.is_none_or(|measured| agrees(*stated, measured)));
    stated.or(measured_millihertz.map(|measured| (measured, 1_000)))
}

/// The media time at which a Period starts.
fn origin(period: &Period) -> MediaTime {
    let scale = period.media_start.scale();
    period.media_start.offset_by(-MediaTime::new(LEAD_MS, Timescale::MILLIS).rescale(scale).ticks())
}

fn ticks(time: MediaTime) -> u64 {
    time.ticks().max(0).unsigned_abs()
}
