//! A snapshot in the words of DASH.

use std::num::NonZeroU64;
use std::time::Duration;

use headwater_manifest::dash::{
    AdaptationSet, Audio, Media, Mpd, Period as MpdPeriod, Representation, SegmentTemplate, TimelineSegment,
    Video,
};
use headwater_media::{MediaTime, TrackKind, WallTime};

use crate::playlist::init_name;
use crate::snapshot::{Bandwidth, Cmaf, CmafSegment, Period, Snapshot, State, agrees};

/// 2000-01-01T00:00:00Z: constant for ever, and not 1970, which ffmpeg takes for absent (DESIGN 5).
const AVAILABILITY_START: WallTime = WallTime::from_unix_millis(946_684_800_000);

/// Target durations that a player stays behind the live edge, as in HLS.
const TARGET_DURATIONS_BEHIND: u32 = 3;

/// A segment passes the target duration by less than this.
const OVERRUN: Duration = Duration::from_millis(500);

/// What one track contributes to one Period.
struct Track<'a> {
    kind: TrackKind,
    segments: Vec<&'a CmafSegment>,
    initialization: String,
    media: String,
}

type Timeline<'a> =
    std::iter::Map<std::slice::Iter<'a, &'a CmafSegment>, fn(&&CmafSegment) -> TimelineSegment>;

impl<'a> Track<'a> {
    fn new(cmaf: &'a Cmaf, kind: TrackKind, period: &Period) -> Option<Track<'a>> {
        let listed = &cmaf.rendition(kind)?.listed;
        let segments: Vec<_> =
            listed.iter().filter(|segment| segment.period == period.id).map(AsRef::as_ref).collect();
        let initialization = format!("{kind}/{}", init_name(segments.first()?));
        Some(Track { kind, segments, initialization, media: format!("{kind}/$Number$.m4s") })
    }

    /// Media time of its end in milliseconds.
    fn end_ms(&self) -> i64 {
        let end = |segment: &&CmafSegment| segment.start.offset_by(segment.duration.ticks()).millis();
        self.segments.last().map_or(0, end)
    }

    fn timeline(&self) -> Timeline<'_> {
        self.segments
            .iter()
            .map(|segment| TimelineSegment { t: ticks(segment.start), d: ticks(segment.duration) })
    }

    fn adaptation_set(&'a self, cmaf: &Cmaf, period: &'a Period) -> Option<AdaptationSet<'a, Timeline<'a>>> {
        let first = self.segments.first()?;
        let (id, name, codecs, bandwidth, media) = match self.kind {
            TrackKind::Video => {
                let video = period.tracks.video.as_deref()?;
                let media = Media::Video(Video {
                    width: video.width,
                    height: video.height,
                    sample_aspect_ratio: video.sample_aspect_ratio,
                    // What the period's bitstream states, where the measurement agrees: a measured rate would move.
                    frame_rate: video
                        .frame_rate
                        .filter(|stated| {
                            cmaf.frame_rate_millihertz.is_none_or(|measured| agrees(*stated, measured))
                        })
                        .or(cmaf.frame_rate_millihertz.map(|measured| (measured, 1_000))),
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
            template: SegmentTemplate {
                timescale: first.start.scale(),
                presentation_time_offset: ticks(period.media_start.rescale(first.start.scale())),
                start_number: first.sequence,
                initialization: &self.initialization,
                media: &self.media,
                timeline: self.timeline(),
            },
        })
    }
}

/// One Period of the MPD under construction.
struct Stretch<'a> {
    period: &'a Period,
    tracks: Vec<Track<'a>>,
    start: Duration,
    media: Duration,
}

pub(crate) fn mpd(snapshot: &Snapshot, utc_timing: Option<&str>) -> Option<Vec<u8>> {
    let cmaf = snapshot.cmaf.as_ref().filter(|cmaf| cmaf.is_playable())?;
    let target = cmaf.renditions().map(|rendition| rendition.target_duration).max()?;
    let target = Duration::from_secs(u64::from(target));
    let stretches: Vec<Stretch<'_>> =
        cmaf.periods.iter().filter_map(|period| stretch(cmaf, period)).collect();
    let starts = stretches.iter().skip(1).map(|next| Some(next.start)).chain(std::iter::once(None));
    let is_ended = snapshot.state == State::Ended;
    let mut periods = Vec::with_capacity(stretches.len());
    for (stretch, next) in stretches.iter().zip(starts) {
        let adaptation_sets: Option<Vec<_>> =
            stretch.tracks.iter().map(|track| track.adaptation_set(cmaf, stretch.period)).collect();
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
            adaptation_sets: adaptation_sets?,
        });
    }
    let end = stretches.last().map(|last| last.start.saturating_add(last.media));
    let mpd = Mpd {
        availability_start_time: AVAILABILITY_START,
        publish_time: cmaf.published_at,
        minimum_update_period: target,
        min_buffer_time: target,
        time_shift_buffer_depth: cmaf.window.max(target * TARGET_DURATIONS_BEHIND),
        suggested_presentation_delay: target * TARGET_DURATIONS_BEHIND,
        max_segment_duration: target + OVERRUN,
        ended: end.filter(|_| is_ended),
        utc_timing,
        periods,
    };
    mpd.render().ok()
}

fn stretch<'a>(cmaf: &'a Cmaf, period: &'a Period) -> Option<Stretch<'a>> {
    let tracks: Vec<Track<'a>> = [TrackKind::Video, TrackKind::Audio]
        .into_iter()
        .filter_map(|kind| Track::new(cmaf, kind, period))
        .collect();
    let end_ms = tracks.iter().map(Track::end_ms).max()?;
    let start_ms = period.start.unix_millis().saturating_sub(AVAILABILITY_START.unix_millis());
    let span = |ms: i64| Duration::from_millis(ms.max(0).unsigned_abs());
    Some(Stretch {
        period,
        tracks,
        start: span(start_ms),
        media: span(end_ms.saturating_sub(period.media_start.millis())),
    })
}

fn ticks(time: MediaTime) -> u64 {
    time.ticks().max(0).unsigned_abs()
}
