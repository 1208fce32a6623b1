//! Counts of everything that was repaired, ignored or dropped without ending the publication.

/// What happened to a publication's messages. All start at 0 and only grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Video samples yielded.
    pub video_samples: u64,
    /// Audio samples yielded.
    pub audio_samples: u64,
    /// Data messages yielded.
    pub data_messages: u64,
    /// Messages answered with [`crate::Error::BadTag`].
    pub bad_tags: u64,
    /// Configurations that could not be used, in-band parameter sets included.
    pub bad_configs: u64,
    /// Configurations that changed nothing.
    pub repeated_configs: u64,
    /// Configurations without a byte.
    pub empty_configs: u64,
    /// Video configurations taken from parameter sets inside an IDR picture's access unit.
    pub in_band_configs: u64,
    /// Parameter sets or pictures sent with start codes where length fields belong.
    pub annex_b: u64,
    /// Video messages dropped because no configuration came before them.
    pub video_before_config: u64,
    /// Audio messages dropped because no configuration came before them.
    pub audio_before_config: u64,
    /// Video messages dropped because the keyframe they build on was damaged.
    pub video_awaiting_keyframe: u64,
    /// Messages without payload; as audio, a silence marker.
    pub empty_messages: u64,
    /// Video info or command frames (frame type 5).
    pub command_frames: u64,
    /// Announced ends of a coded sequence.
    pub sequence_ends: u64,
    /// NAL units of zero length left out.
    pub empty_nal_units: u64,
    /// Video messages without a picture; their NAL units were put in front of the next one, if worth keeping.
    pub without_picture: u64,
    /// Access units that are entry points without being IDR pictures.
    pub recovery_points: u64,
    /// Composition time offsets beyond ten seconds, taken as 0.
    pub composition_times_clamped: u64,
    /// Audio frames whose ADTS header, put there by mistake, was removed.
    pub adts_headers_removed: u64,
    /// Messages of Enhanced RTMP that carry nothing for the default tracks: further tracks, metadata, unknown types.
    pub enhanced_ignored: u64,
}
