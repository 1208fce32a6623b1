//! The last segments of a stream, as they survive a restart of the server: what its successor lists again.
//!
//! The file is a magic number with the version, a CRC-32 of all that follows, the length of a header in JSON, the header, and the
//! bodies that it speaks of, one behind the other. Whoever reads it believes none of its lengths.

use std::sync::Arc;

use bytes::Bytes;
use headwater_cmaf::InitSegment;
use headwater_media::{
    AudioCodec, AudioConfig, Colour, MediaTime, Timescale, VideoCodec, VideoConfig, WallTime,
};
use serde::{Deserialize, Serialize};

use crate::cmaf::KeptCmaf;
use crate::held::{Alive, Token, tracked};
use crate::metadata::KeptRange;
use crate::rates::Rates;
use crate::snapshot::{Cadence, CmafSegment, Part, Period, Segment, Tracks, TsSegment};
use crate::timeline::KeptClock;

/// The last digit is the version: what another version wrote is left alone.
const MAGIC: [u8; 8] = *b"HWKEPT\x00\x01";

/// Media times stay exact in JavaScript below this, and sums of a few of them in 64 bits.
pub(crate) const TICKS_MAX: i64 = 1 << 53;

/// No segment is longer: TARGETDURATION is 10 s at most.
pub(crate) const SEGMENT_MS_MAX: i64 = 20_000;

/// Numbers count seconds since 1970, more or less.
const SEQUENCE_MAX: u64 = 1 << 53;

/// Why what was kept can't be listed again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeptError {
    /// It is not whole, or not what was written.
    #[error("it is damaged")]
    Damaged,
    /// It begins otherwise.
    #[error("another version wrote it")]
    Version,
    /// The header can't be written.
    #[error("it can't be written: {0}")]
    Unwritable(String),
    /// Segments or parts would be of another length, or other tracks be announced, than players were told.
    #[error("the stream is packaged in another way now")]
    Packaging,
    /// Numbers don't go on where it ends.
    #[error("numbers go on elsewhere")]
    Numbers,
    /// No packaging that is switched on can carry its tracks.
    #[error("cannot be packaged: {0}")]
    Unpackageable(String),
}

/// The last segments of a stream that nobody publishes at the moment, with all that another process needs to go on behind them.
#[derive(Debug, Clone)]
pub struct Kept {
    pub(crate) header: Header,
    /// In the order in which the header speaks of them: initialization segments, MPEG-TS, video, audio.
    pub(crate) bodies: Vec<Bytes>,
}

/// What is known of the stream and of its segments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Header {
    /// What was asked for, in 90 kHz ticks.
    pub(crate) segment_ticks: i64,
    pub(crate) timed_metadata: bool,
    pub(crate) target_duration: u32,
    /// The number of the next segment.
    pub(crate) next: u64,
    /// The discontinuity sequence reached.
    pub(crate) discontinuities: u64,
    /// Where the media ended, 90 kHz ticks.
    pub(crate) resume_at: i64,
    /// Milliseconds that the wall clock was ahead of media time there.
    pub(crate) wall_offset_ms: i64,
    pub(crate) timeline: [KeptClock; 2],
    pub(crate) configs: Configs,
    /// What was published last.
    pub(crate) tracks: TrackNumbers,
    pub(crate) rates: Rates,
    pub(crate) ts: Option<KeptList>,
    pub(crate) cmaf: Option<KeptCmaf>,
    pub(crate) ranges: Vec<KeptRange>,
    /// Of the bodies, in bytes.
    pub(crate) lengths: Vec<u32>,
}

/// The segments of a rendition: those with the numbers before [`Header::next`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeptList {
    /// EXT-X-DISCONTINUITY-SEQUENCE of the first one.
    pub(crate) discontinuity_sequence: u64,
    pub(crate) segments: Vec<KeptSegment>,
}

/// A segment without its bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeptSegment {
    /// Ticks per second of its times.
    hz: u32,
    start: i64,
    duration: i64,
    date_ms: i64,
    discontinuity: bool,
    independent: bool,
    /// Index of its initialization segment; of CMAF alone, as what follows.
    init: usize,
    period: u64,
    /// Duration and independence of each part.
    parts: Vec<(i64, bool)>,
}

/// The configurations that tracks had.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Configs {
    video: Vec<KeptVideo>,
    audio: Vec<KeptAudio>,
}

/// Tracks as indices into [`Configs`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct TrackNumbers {
    video: Option<usize>,
    audio: Option<usize>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct KeptVideo {
    codec: KeptVideoCodec,
    record: Vec<u8>,
    codec_string: String,
    width: u32,
    height: u32,
    sample_aspect_ratio: (u16, u16),
    frame_rate: Option<(u32, u32)>,
    colour: Option<(u8, u8, u8, bool)>,
    reorder_frames_max: Option<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum KeptVideoCodec {
    H264,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct KeptAudio {
    codec: KeptAudioCodec,
    record: Vec<u8>,
    codec_string: String,
    sample_rate: u32,
    output_sample_rate: u32,
    channels: u8,
    samples_per_frame: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum KeptAudioCodec {
    Aac,
    Mp3,
}

/// A DASH Period.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeptPeriod {
    id: u64,
    start_ms: i64,
    media_start: i64,
    tracks: TrackNumbers,
    continues: Option<u64>,
    cadence: Cadence,
}

impl Kept {
    /// Reads what [`Kept::head`] and [`Kept::bodies`] gave.
    ///
    /// # Errors
    /// [`KeptError::Version`], [`KeptError::Damaged`].
    pub fn read(file: &Bytes) -> Result<Kept, KeptError> {
        let (magic, rest) = file.split_first_chunk().ok_or(KeptError::Damaged)?;
        if *magic != MAGIC {
            return Err(KeptError::Version);
        }
        let (sum, rest) = rest.split_first_chunk().ok_or(KeptError::Damaged)?;
        if crc32fast::hash(rest) != u32::from_be_bytes(*sum) {
            return Err(KeptError::Damaged);
        }
        let (length, rest) = rest.split_first_chunk().ok_or(KeptError::Damaged)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| KeptError::Damaged)?;
        let (header, bodies) = rest.split_at_checked(length).ok_or(KeptError::Damaged)?;
        let header: Header = serde_json::from_slice(header).map_err(|_| KeptError::Damaged)?;
        let mut rest = file.slice_ref(bodies);
        let mut bodies = Vec::new();
        for length in &header.lengths {
            let length = usize::try_from(*length).map_err(|_| KeptError::Damaged)?;
            if length > rest.len() {
                return Err(KeptError::Damaged);
            }
            bodies.push(rest.split_to(length));
        }
        if !rest.is_empty() || !header.is_sound() {
            return Err(KeptError::Damaged);
        }
        Ok(Kept { header, bodies })
    }

    /// What the file begins with; [`Kept::bodies`] follow.
    ///
    /// # Errors
    /// [`KeptError::Unwritable`].
    pub fn head(&self) -> Result<Vec<u8>, KeptError> {
        let unwritable = |error: String| KeptError::Unwritable(error);
        let header = serde_json::to_vec(&self.header).map_err(|error| unwritable(error.to_string()))?;
        let length = u32::try_from(header.len()).map_err(|error| unwritable(error.to_string()))?;
        let mut sum = crc32fast::Hasher::new();
        sum.update(&length.to_be_bytes());
        sum.update(&header);
        for body in &self.bodies {
            sum.update(body);
        }
        let mut head = Vec::with_capacity(MAGIC.len() + 8 + header.len());
        head.extend_from_slice(&MAGIC);
        head.extend_from_slice(&sum.finalize().to_be_bytes());
        head.extend_from_slice(&length.to_be_bytes());
        head.extend_from_slice(&header);
        Ok(head)
    }

    /// The bytes of initialization segments and media.
    pub fn bodies(&self) -> &[Bytes] {
        &self.bodies
    }

    /// How many bytes of media and initialization segments there are.
    pub fn size_bytes(&self) -> u64 {
        self.bodies.iter().map(|body| body.len() as u64).sum()
    }

    /// The wall clock when the media ended.
    pub fn ended_at(&self) -> WallTime {
        let ended = MediaTime::new(self.header.resume_at, Timescale::MPEG).millis();
        WallTime::from_unix_millis(ended.saturating_add(self.header.wall_offset_ms))
    }
}

impl Header {
    /// Its numbers are such as a packager has: sums and products of them stay in range.
    fn is_sound(&self) -> bool {
        let lists = self.cmaf.iter().flat_map(KeptCmaf::lists).chain(&self.ts);
        let periods = self.cmaf.iter().flat_map(KeptCmaf::periods);
        (1..=crate::TARGET_DURATION_MAX_SECONDS).contains(&self.target_duration)
            && (1..=SEQUENCE_MAX).contains(&self.next)
            && self.discontinuities <= SEQUENCE_MAX
            && (0..=TICKS_MAX).contains(&self.resume_at)
            && self.wall_offset_ms.unsigned_abs() <= TICKS_MAX.unsigned_abs()
            && self.timeline.iter().all(|track| track.is_within(TICKS_MAX))
            && self.configs.audio.iter().all(|audio| audio.samples_per_frame > 0)
            && periods.into_iter().all(|period| period.is_sound(self.next))
            && lists.into_iter().all(|list| list.is_sound(self.next))
    }
}

impl KeptList {
    /// `None` where what is listed does not end before `next`.
    pub(crate) fn of<S: Segment>(
        (discontinuity_sequence, listed): (u64, Vec<Arc<S>>),
        next: u64,
        mut keep: impl FnMut(&S) -> KeptSegment,
    ) -> Option<KeptList> {
        let first = next.checked_sub(listed.len() as u64)?;
        let is_consecutive =
            (first..next).zip(&listed).all(|(sequence, segment)| segment.sequence() == sequence);
        let segments = listed.iter().map(|segment| keep(segment)).collect();
        is_consecutive.then_some(KeptList { discontinuity_sequence, segments })
    }

    fn is_sound(&self, next: u64) -> bool {
        (self.segments.len() as u64) < next
            && self.discontinuity_sequence <= SEQUENCE_MAX
            && self.segments.iter().all(|segment| segment.is_sound(next))
    }

    /// The segments with their numbers.
    pub(crate) fn numbered(&self, next: u64) -> impl Iterator<Item = (u64, &KeptSegment)> {
        (next.saturating_sub(self.segments.len() as u64)..next).zip(&self.segments)
    }

    /// The oldest Period that one of its segments belongs to.
    pub(crate) fn first_period(&self) -> Option<u64> {
        self.segments.iter().map(|segment| segment.period).min()
    }
}

impl KeptSegment {
    pub(crate) fn of_ts(segment: &TsSegment, bodies: &mut Vec<Bytes>) -> KeptSegment {
        bodies.push(segment.payload.clone());
        KeptSegment {
            hz: segment.start.scale().hz(),
            start: segment.start.ticks(),
            duration: segment.duration.ticks(),
            date_ms: segment.program_date_time.unix_millis(),
            discontinuity: segment.discontinuity,
            independent: segment.independent,
            init: 0,
            period: 0,
            parts: Vec::new(),
        }
    }

    pub(crate) fn of_cmaf(
        segment: &CmafSegment,
        inits: &mut Vec<Arc<InitSegment>>,
        bodies: &mut Vec<Bytes>,
    ) -> KeptSegment {
        let known = inits.iter().position(|init| init.name_hash == segment.init.name_hash);
        let init = known.unwrap_or_else(|| {
            inits.push(Arc::clone(&segment.init));
            inits.len().saturating_sub(1)
        });
        bodies.extend(segment.parts.iter().map(|part| part.payload.clone()));
        KeptSegment {
            hz: segment.start.scale().hz(),
            start: segment.start.ticks(),
            duration: segment.duration.ticks(),
            date_ms: segment.program_date_time.unix_millis(),
            discontinuity: segment.discontinuity,
            independent: segment.independent,
            init,
            period: segment.period,
            parts: segment.parts.iter().map(|part| (part.duration.ticks(), part.independent)).collect(),
        }
    }

    fn is_sound(&self, next: u64) -> bool {
        let Ok(scale) = Timescale::new(self.hz) else { return false };
        let is_duration = |ticks: i64| ticks > 0 && MediaTime::new(ticks, scale).millis() <= SEGMENT_MS_MAX;
        (0..=TICKS_MAX).contains(&self.start)
            && is_duration(self.duration)
            && self.period <= next
            && self.parts.iter().all(|(duration, _)| is_duration(*duration))
    }

    fn time(&self, ticks: i64) -> Result<MediaTime, KeptError> {
        let scale = Timescale::new(self.hz).map_err(|_| KeptError::Damaged)?;
        Ok(MediaTime::new(ticks, scale))
    }

    /// The segment as MPEG-TS.
    pub(crate) fn ts(
        &self,
        sequence: u64,
        bodies: &mut impl Iterator<Item = Bytes>,
    ) -> Result<(TsSegment, Alive), KeptError> {
        // A copy: a slice would hold all of the file.
        let (payload, alive) = tracked(bodies.next().ok_or(KeptError::Damaged)?.to_vec());
        if !payload.len().is_multiple_of(headwater_mpegts::PACKET_SIZE) {
            return Err(KeptError::Damaged);
        }
        let segment = TsSegment {
            sequence,
            start: self.time(self.start)?,
            duration: self.time(self.duration)?,
            program_date_time: WallTime::from_unix_millis(self.date_ms),
            discontinuity: self.discontinuity,
            independent: self.independent,
            payload,
        };
        Ok((segment, alive))
    }

    /// The segment as CMAF.
    pub(crate) fn cmaf(
        &self,
        sequence: u64,
        inits: &[Arc<InitSegment>],
        bodies: &mut impl Iterator<Item = Bytes>,
    ) -> Result<(CmafSegment, Alive), KeptError> {
        let token = Token::default();
        let mut parts = Vec::new();
        for (duration, independent) in &self.parts {
            let body = bodies.next().ok_or(KeptError::Damaged)?;
            let payload = token.track(body.to_vec());
            parts.push(Part { duration: self.time(*duration)?, independent: *independent, payload });
        }
        if parts.is_empty() {
            return Err(KeptError::Damaged);
        }
        let segment = CmafSegment {
            sequence,
            start: self.time(self.start)?,
            duration: self.time(self.duration)?,
            program_date_time: WallTime::from_unix_millis(self.date_ms),
            discontinuity: self.discontinuity,
            independent: self.independent,
            init: inits.get(self.init).map(Arc::clone).ok_or(KeptError::Damaged)?,
            period: self.period,
            parts,
        };
        Ok((segment, token.alive()))
    }
}

impl Configs {
    /// Where these tracks' configurations lie, which they do from now on.
    pub(crate) fn keep(&mut self, tracks: &Tracks) -> TrackNumbers {
        fn place<T: PartialEq>(known: &mut Vec<T>, kept: T) -> usize {
            known.iter().position(|known| *known == kept).unwrap_or_else(|| {
                known.push(kept);
                known.len().saturating_sub(1)
            })
        }
        TrackNumbers {
            video: tracks.video.as_deref().map(|video| place(&mut self.video, KeptVideo::of(video))),
            audio: tracks.audio.as_deref().map(|audio| place(&mut self.audio, KeptAudio::of(audio))),
        }
    }

    pub(crate) fn tracks(&self, numbers: TrackNumbers) -> Result<Tracks, KeptError> {
        let video = match numbers.video {
            Some(index) => Some(self.video.get(index).ok_or(KeptError::Damaged)?.config()),
            None => None,
        };
        let audio = match numbers.audio {
            Some(index) => Some(self.audio.get(index).ok_or(KeptError::Damaged)?.config()?),
            None => None,
        };
        Ok(Tracks { video: video.map(Arc::new), audio: audio.map(Arc::new) })
    }
}

impl KeptVideo {
    fn of(config: &VideoConfig) -> KeptVideo {
        KeptVideo {
            codec: match config.codec {
                VideoCodec::H264 => KeptVideoCodec::H264,
            },
            record: config.record.to_vec(),
            codec_string: config.codec_string.clone(),
            width: config.width,
            height: config.height,
            sample_aspect_ratio: config.sample_aspect_ratio,
            frame_rate: config.frame_rate,
            colour: config
                .colour
                .map(|colour| (colour.primaries, colour.transfer, colour.matrix, colour.full_range)),
            reorder_frames_max: config.reorder_frames_max,
        }
    }

    fn config(&self) -> VideoConfig {
        VideoConfig {
            codec: match self.codec {
                KeptVideoCodec::H264 => VideoCodec::H264,
            },
            record: Bytes::from(self.record.clone()),
            codec_string: self.codec_string.clone(),
            width: self.width,
            height: self.height,
            sample_aspect_ratio: self.sample_aspect_ratio,
            frame_rate: self.frame_rate,
            colour: self.colour.map(|(primaries, transfer, matrix, full_range)| Colour {
                primaries,
                transfer,
                matrix,
                full_range,
            }),
            reorder_frames_max: self.reorder_frames_max,
        }
    }
}

impl KeptAudio {
    fn of(config: &AudioConfig) -> KeptAudio {
        KeptAudio {
            codec: match config.codec {
                AudioCodec::Aac => KeptAudioCodec::Aac,
                AudioCodec::Mp3 => KeptAudioCodec::Mp3,
            },
            record: config.record.to_vec(),
            codec_string: config.codec_string.clone(),
            sample_rate: config.sample_rate.hz(),
            output_sample_rate: config.output_sample_rate,
            channels: config.channels,
            samples_per_frame: config.samples_per_frame,
        }
    }

    fn config(&self) -> Result<AudioConfig, KeptError> {
        Ok(AudioConfig {
            codec: match self.codec {
                KeptAudioCodec::Aac => AudioCodec::Aac,
                KeptAudioCodec::Mp3 => AudioCodec::Mp3,
            },
            record: Bytes::from(self.record.clone()),
            codec_string: self.codec_string.clone(),
            sample_rate: Timescale::new(self.sample_rate).map_err(|_| KeptError::Damaged)?,
            output_sample_rate: self.output_sample_rate,
            channels: self.channels,
            samples_per_frame: self.samples_per_frame,
        })
    }
}

impl KeptPeriod {
    pub(crate) fn of(period: &Period, configs: &mut Configs) -> KeptPeriod {
        KeptPeriod {
            id: period.id,
            start_ms: period.start.unix_millis(),
            media_start: period.media_start.ticks(),
            tracks: configs.keep(&period.tracks),
            continues: period.continues,
            cadence: period.cadence,
        }
    }

    fn is_sound(&self, next: u64) -> bool {
        let is_cadence = match self.cadence {
            Cadence::Regular(ticks) => (1..=TICKS_MAX.unsigned_abs()).contains(&ticks),
            Cadence::Unknown | Cadence::Irregular => true,
        };
        is_cadence && self.id <= next && (0..=TICKS_MAX).contains(&self.media_start)
    }

    pub(crate) fn period(&self, configs: &Configs) -> Result<Period, KeptError> {
        Ok(Period {
            id: self.id,
            start: WallTime::from_unix_millis(self.start_ms),
            media_start: MediaTime::new(self.media_start, Timescale::MPEG),
            tracks: configs.tracks(self.tracks)?,
            continues: self.continues,
            cadence: self.cadence,
        })
    }
}
