//! The DASH Period that players were playing when the process crashed: what is noted of it, and how the next process lists it, as over.
//!
//! Its media is gone. Players must hear that it has ended, and what follows: dash.js 5.2.1 keeps a Period that is in no MPD any more as it
//! knew it, without an end, and stands still in it for good. So the Period is listed with one of its segments, which players
//! have had, and it ends with that one. No later segment is listed: it would be asked for.

use std::sync::Arc;

use bytes::Bytes;
use headwater_cmaf::InitSegment;
use headwater_media::{
    AudioCodec, AudioConfig, MediaTime, Timescale, TrackKind, VideoCodec, VideoConfig, WallTime,
};
use serde::{Deserialize, Serialize};

use crate::kept::{SEGMENT_MS_MAX, TICKS_MAX};
use crate::mpd::announced_rate;
use crate::snapshot::{Cadence, CmafSegment, Period, Tracks};

/// Longest @codecs of a track that is noted: `avc1.64001f` and `mp4a.40.2` are usual.
const CODECS_BYTES_MAX: usize = 24;

/// What a crash leaves of a Period, small enough to be written with each segment. [`Packager::list_as_over`](crate::Packager::list_as_over)
/// believes none of its values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotedPeriod {
    id: u64,
    start_ms: i64,
    /// 90 kHz ticks.
    media_start: i64,
    /// 90 kHz ticks from segment to segment, where they number themselves by time.
    regular: Option<u64>,
    /// The number of the segment that is listed.
    sequence: u64,
    video: Option<NotedVideo>,
    audio: Option<NotedAudio>,
}

/// Pictures as the MPD describes them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct NotedVideo {
    codecs: String,
    size: (u32, u32),
    sar: (u16, u16),
    rate: Option<(u32, u32)>,
    segment: NotedSegment,
}

/// Sound as the MPD describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct NotedAudio {
    codecs: String,
    /// Ticks per second of its times.
    hz: u32,
    rate: u32,
    channels: u8,
    segment: NotedSegment,
}

/// A segment, in ticks of its track.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct NotedSegment {
    /// Its initialization segment's hash.
    init: String,
    start: i64,
    duration: i64,
}

impl NotedPeriod {
    /// Of a segment of each of the Period's tracks; `None` where one has none.
    pub(crate) fn of(
        period: &Period,
        frame_rate_millihertz: Option<u32>,
        segment: impl Fn(TrackKind) -> Option<Arc<CmafSegment>>,
    ) -> Option<NotedPeriod> {
        let video = match period.tracks.video.as_deref() {
            Some(video) => Some((video, segment(TrackKind::Video)?)),
            None => None,
        };
        let audio = match period.tracks.audio.as_deref() {
            Some(audio) => Some((audio, segment(TrackKind::Audio)?)),
            None => None,
        };
        let segments = video.iter().map(|(_, segment)| segment);
        let sequence = segments.chain(audio.iter().map(|(_, segment)| segment)).next()?.sequence;
        Some(NotedPeriod {
            id: period.id,
            start_ms: period.start.unix_millis(),
            media_start: period.media_start.ticks(),
            regular: match period.cadence {
                Cadence::Regular(ticks) => Some(ticks),
                Cadence::Unknown | Cadence::Irregular => None,
            },
            sequence,
            video: video.map(|(video, segment)| NotedVideo {
                codecs: video.codec_string.clone(),
                size: (video.width, video.height),
                sar: video.sample_aspect_ratio,
                rate: announced_rate(video.frame_rate, frame_rate_millihertz),
                segment: NotedSegment::of(&segment),
            }),
            audio: audio.map(|(audio, segment)| NotedAudio {
                codecs: audio.codec_string.clone(),
                hz: audio.sample_rate.hz(),
                rate: audio.output_sample_rate,
                channels: audio.channels,
                segment: NotedSegment::of(&segment),
            }),
        })
    }

    /// It is such as a packager notes before number `next`: an MPD can say it, and sums of its numbers stay in range.
    fn is_sound(&self, next: u64) -> bool {
        let is_time = |ticks: i64| (0..=TICKS_MAX).contains(&ticks);
        let is_regular = |ticks: u64| (1..=TICKS_MAX.unsigned_abs()).contains(&ticks);
        let mut tracks = self
            .video
            .iter()
            .map(|video| (&video.codecs, 90_000, &video.segment))
            .chain(self.audio.iter().map(|audio| (&audio.codecs, audio.hz, &audio.segment)));
        (self.video.is_some() || self.audio.is_some())
            && self.id <= self.sequence
            && self.sequence < next
            && is_time(self.start_ms)
            && is_time(self.media_start)
            && self.regular.is_none_or(is_regular)
            && self.video.iter().all(|video| video.size.0 > 0 && video.size.1 > 0)
            && tracks.all(|(codecs, hz, segment)| {
                let is_codecs = (1..=CODECS_BYTES_MAX).contains(&codecs.len())
                    && codecs.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.');
                is_codecs && segment.is_sound(hz)
            })
    }

    /// The Period as it is listed before number `next`; `None` where nobody has noted such a one.
    pub(crate) fn over(&self, next: u64) -> Option<PeriodOver> {
        if !self.is_sound(next) {
            return None;
        }
        let video = self.video.as_ref().map(|video| VideoConfig {
            codec: VideoCodec::H264,
            record: Bytes::new(),
            codec_string: video.codecs.clone(),
            width: video.size.0,
            height: video.size.1,
            sample_aspect_ratio: video.sar,
            frame_rate: video.rate,
            colour: None,
            reorder_frames_max: None,
        });
        let audio = match &self.audio {
            Some(audio) => Some(AudioConfig {
                codec: AudioCodec::Aac,
                record: Bytes::new(),
                codec_string: audio.codecs.clone(),
                sample_rate: Timescale::new(audio.hz).ok()?,
                output_sample_rate: audio.rate,
                channels: audio.channels,
                samples_per_frame: 1,
            }),
            None => None,
        };
        let listed = |segment: &NotedSegment, scale| segment.listed(self.id, self.sequence, scale);
        let segments = [
            self.video.as_ref().map(|video| listed(&video.segment, Timescale::MPEG)),
            match (&self.audio, &audio) {
                (Some(noted), Some(config)) => Some(listed(&noted.segment, config.sample_rate)),
                _ => None,
            },
        ];
        let [video_segment, audio_segment] = segments;
        Some(PeriodOver {
            period: Period {
                id: self.id,
                start: WallTime::from_unix_millis(self.start_ms),
                media_start: MediaTime::new(self.media_start, Timescale::MPEG),
                tracks: Tracks { video: video.map(Arc::new), audio: audio.map(Arc::new) },
                continues: None,
                cadence: self.regular.map_or(Cadence::Irregular, Cadence::Regular),
            },
            video: video_segment,
            audio: audio_segment,
        })
    }
}

impl NotedSegment {
    fn of(segment: &CmafSegment) -> NotedSegment {
        NotedSegment {
            init: segment.init.name_hash.clone(),
            start: segment.start.ticks(),
            duration: segment.duration.ticks(),
        }
    }

    fn is_sound(&self, hz: u32) -> bool {
        let Ok(scale) = Timescale::new(hz) else { return false };
        (0..=TICKS_MAX).contains(&self.start)
            && (1..=TICKS_MAX).contains(&self.duration)
            && MediaTime::new(self.duration, scale).millis() <= SEGMENT_MS_MAX
            && self.init.len() == 16
            && self.init.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
    }

    fn listed(&self, period: u64, sequence: u64, scale: Timescale) -> CmafSegment {
        CmafSegment {
            sequence,
            start: MediaTime::new(self.start, scale),
            duration: MediaTime::new(self.duration, scale),
            program_date_time: WallTime::from_unix_millis(0),
            discontinuity: false,
            independent: true,
            init: Arc::new(InitSegment { bytes: Bytes::new(), name_hash: self.init.clone() }),
            period,
            parts: Vec::new(),
        }
    }
}

/// A Period of an earlier process, listed as over. What it says of tracks and segments is what an MPD says: there are no bytes.
#[derive(Debug, Clone)]
pub struct PeriodOver {
    /// The Period. Its tracks have no records.
    pub period: Period,
    /// The listed segment of the video track.
    pub video: Option<CmafSegment>,
    /// The listed segment of the audio track.
    pub audio: Option<CmafSegment>,
}

impl PeriodOver {
    /// The listed segment of a track.
    pub(crate) fn segment(&self, kind: TrackKind) -> Option<&CmafSegment> {
        match kind {
            TrackKind::Video => self.video.as_ref(),
            TrackKind::Audio => self.audio.as_ref(),
        }
    }
}
