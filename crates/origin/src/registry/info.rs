//! A stream as `/api/v1/streams` tells of it.

use serde::Serialize;

use super::Seat;
use crate::continuous::Viewers;
use crate::health::Health;

/// A stream in `/api/v1/streams`.
#[derive(Debug, Clone, Serialize)]
pub struct StreamInfo {
    /// App.
    pub app: String,
    /// Name in the app.
    pub name: String,
    /// `starting`, `live`, `waiting` or `ended`.
    pub state: &'static str,
    /// Who publishes, if anybody does.
    pub publisher: Option<PublisherInfo>,
    /// The video track.
    pub video: Option<VideoInfo>,
    /// The audio track.
    pub audio: Option<AudioInfo>,
    /// Bits per second, average over recent segments, container included.
    pub bandwidth_average: Option<u64>,
    /// Bits per second as EXT-X-STREAM-INF states them.
    pub bandwidth_peak: Option<u64>,
    /// Longest keyframe interval seen, seconds.
    pub gop_longest_seconds: Option<f64>,
    /// EXT-X-TARGETDURATION in seconds.
    pub target_duration_seconds: Option<u32>,
    /// Number of the newest segment.
    pub media_sequence_last: Option<u64>,
    /// Segments listed.
    pub segments_listed: usize,
    /// Segments delisted and still fetchable.
    pub segments_retained: usize,
    /// Bytes of media held, what is judged by `limits.max_bytes_per_stream`; as of the newest version.
    pub memory_bytes: u64,
    /// Those of them that only slow readers still hold.
    pub memory_bytes_held_by_readers: u64,
    /// What is known of the publisher's media, once its first ten seconds are over.
    pub health: Option<Health>,
    /// Viewers of continuous outputs; those of segments can't be told from caches.
    pub viewers: Viewers,
    /// Everything that was counted.
    pub counters: CountersInfo,
}

/// Who publishes, in the API.
#[derive(Debug, Clone, Serialize)]
pub struct PublisherInfo {
    /// Address and port.
    pub address: String,
    /// What the encoder calls itself.
    pub encoder: String,
    /// Seconds since it began.
    pub seconds: u64,
    /// Bytes received from it.
    pub bytes: u64,
}

/// A video track in the API.
#[derive(Debug, Clone, Serialize)]
pub struct VideoInfo {
    /// RFC 6381 string.
    pub codec: String,
    /// Pixels per row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Frames per second as measured.
    pub frame_rate: Option<f64>,
}

/// An audio track in the API.
#[derive(Debug, Clone, Serialize)]
pub struct AudioInfo {
    /// RFC 6381 string.
    pub codec: String,
    /// Samples per second after decoding.
    pub sample_rate: u32,
    /// Channels.
    pub channels: u8,
}

/// Counters in the API.
#[derive(Debug, Clone, Serialize)]
pub struct CountersInfo {
    /// Access units packaged.
    pub video_samples: u64,
    /// Audio frames packaged.
    pub audio_samples: u64,
    /// Video that no player could have decoded.
    pub video_dropped: u64,
    /// Audio outside its configuration.
    pub audio_dropped: u64,
    /// Samples of tracks beside the first of each kind.
    pub other_tracks_dropped: u64,
    /// Samples that no container could carry.
    pub unwritable: u64,
    /// Segments that had to end between keyframes.
    pub forced_cuts: u64,
    /// Configuration changes.
    pub config_changes: u64,
    /// Frames of silence in CMAF in place of audio that did not come.
    pub silence_filled: u64,
    /// CMAF segments that show the last keyframe in place of pictures that did not come.
    pub pictures_repeated: u64,
    /// CMAF parts longer than PART-TARGET, because a picture stayed on for so long.
    pub parts_overlong: u64,
    /// Segments that left before their time because the stream was over `limits.max_bytes_per_stream`.
    pub evicted_for_memory: u64,
    /// ID3 tags, splice information and ranges of dates that were inserted.
    pub cues: u64,
    /// Such that could not be, from the API or from the publisher.
    pub cues_refused: u64,
    /// Publishing sessions.
    pub sessions: u64,
    /// Sessions that took the name from a publisher that was connected.
    pub takeovers: u64,
    /// Publishers that were refused because they had been taken over themselves.
    pub takeover_conflicts: u64,
    /// Stamps mended, per kind.
    pub repairs: RepairsInfo,
}

/// Mended stamps in the API.
#[derive(Debug, Clone, Serialize)]
pub struct RepairsInfo {
    /// Decode times that did not rise.
    pub not_monotonic: u64,
    /// Presentation before decoding.
    pub pts_before_dts: u64,
    /// Stray stamps.
    pub outliers: u64,
    /// Jumps that persisted.
    pub rebased: u64,
    /// Holes in the audio beyond the tolerance.
    pub audio_reanchored: u64,
    /// Audio frames that would have overlapped.
    pub audio_overlap: u64,
}

/// What was counted, by the packager and of the seat.
pub(super) fn counters(seat: &Seat) -> CountersInfo {
    let counters = &seat.counters;
    CountersInfo {
        video_samples: counters.video_samples,
        audio_samples: counters.audio_samples,
        video_dropped: counters.video_dropped,
        audio_dropped: counters.audio_dropped,
        other_tracks_dropped: counters.other_tracks_dropped,
        unwritable: counters.unwritable,
        forced_cuts: counters.forced_cuts,
        config_changes: counters.config_changes,
        silence_filled: counters.silence_filled,
        pictures_repeated: counters.pictures_repeated,
        parts_overlong: counters.parts_overlong,
        evicted_for_memory: counters.evicted_for_memory,
        cues: counters.cues,
        cues_refused: counters.cues_refused,
        sessions: counters.sessions,
        takeovers: seat.takeovers,
        takeover_conflicts: seat.takeover_conflicts,
        repairs: RepairsInfo {
            not_monotonic: counters.repairs.not_monotonic,
            pts_before_dts: counters.repairs.pts_before_dts,
            outliers: counters.repairs.outliers,
            rebased: counters.repairs.rebased,
            audio_reanchored: counters.repairs.audio_reanchored,
            audio_overlap: counters.repairs.audio_overlap,
        },
    }
}
