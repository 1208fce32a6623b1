//! Audio frames: ADTS headers, and how many frames share a PES packet.

use bytes::Bytes;
use headwater_codec::aac::AudioSpecificConfig;
use headwater_media::{AudioCodec, AudioConfig, Timescale};

use crate::Error;
use crate::packet::PES_PAYLOAD_MAX;

/// A raw AAC frame may have this many bytes: `aac_frame_length` has 13 bits and counts the 7 of the header.
pub const AAC_FRAME_SIZE_MAX: usize = 8_191 - ADTS_HEADER_SIZE;

/// An MP3 sample may have this many bytes: it must fit one PES packet, whose length field has 16 bits.
pub const MP3_FRAME_SIZE_MAX: usize = PES_PAYLOAD_MAX;

const ADTS_HEADER_SIZE: usize = 7;

/// Frames share a PES packet while it spans no more than this, in 90 kHz ticks: 100 ms, because in audio-only streams
/// every PES packet carries a PCR and those may not be further apart (H.222.0 2.7.2).
const PES_SPAN_MAX: i64 = 9_000;

/// A PES packet is closed once it holds this many bytes, as ffmpeg does: 16 transport packets, about 1 % of overhead.
const PES_SIZE_WANTED: usize = 2_930;

/// A frame further than this from where counting samples puts it begins a PES packet of its own, in 90 kHz ticks:
/// 0.5 ms. Players count on from the first frame of a PES packet, and A/V offsets are to be kept within 1 ms.
const PTS_TOLERANCE: u64 = 45;

/// What the audio configuration contributes to the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AudioTrack {
    pub(crate) stream_type: u8,
    framing: Framing,
    sample_rate: Timescale,
    samples_per_frame: u32,
}

/// How a decoder finds a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Framing {
    /// By the ADTS header that is put before it.
    Adts(AudioSpecificConfig),
    /// By the header that it brings along.
    Own,
}

/// A frame that waits for its PES packet.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    /// 90 kHz ticks, not reduced.
    pub(crate) pts: i64,
    adts: Option<[u8; ADTS_HEADER_SIZE]>,
    data: Bytes,
}

impl Frame {
    /// Bytes on the wire.
    pub(crate) fn size(&self) -> usize {
        self.header().len() + self.data.len()
    }

    /// The ADTS header, or nothing.
    pub(crate) fn header(&self) -> &[u8] {
        self.adts.as_ref().map_or(&[], |header| header.as_slice())
    }

    /// The frame as it came.
    pub(crate) fn data(&self) -> &[u8] {
        &self.data
    }
}

impl AudioTrack {
    pub(crate) fn new(config: &AudioConfig) -> Result<AudioTrack, Error> {
        let (stream_type, framing) = match config.codec {
            AudioCodec::Aac => {
                let record = AudioSpecificConfig::parse(&config.record).map_err(Error::AudioRecord)?;
                // Only a header shows whether there can be one.
                record.adts_header(1).map_err(Error::AudioUnrepresentable)?;
                (0x0f, Framing::Adts(record))
            }
            // ISO/IEC 11172-3 has 32 kHz and above, 13818-3 the halves; the quarters of "MPEG 2.5" go with them.
            AudioCodec::Mp3 if config.sample_rate.hz() >= 32_000 => (0x03, Framing::Own),
            AudioCodec::Mp3 => (0x04, Framing::Own),
        };
        let AudioConfig { sample_rate, samples_per_frame, .. } = *config;
        Ok(AudioTrack { stream_type, framing, sample_rate, samples_per_frame })
    }

    /// A frame ready to be queued.
    ///
    /// # Errors
    /// [`Error::FrameEmpty`], [`Error::FrameTooLong`].
    pub(crate) fn frame(&self, pts: i64, data: Bytes) -> Result<Frame, Error> {
        let size = data.len();
        let max = match self.framing {
            Framing::Adts(_) => AAC_FRAME_SIZE_MAX,
            Framing::Own => MP3_FRAME_SIZE_MAX,
        };
        if size == 0 {
            return Err(Error::FrameEmpty);
        }
        if size > max {
            return Err(Error::FrameTooLong { size, max });
        }
        let adts = match &self.framing {
            Framing::Adts(config) => Some(config.adts_header(size).map_err(Error::AudioUnrepresentable)?),
            Framing::Own => None,
        };
        Ok(Frame { pts, adts, data })
    }

    /// 90 kHz ticks that `frames` frames last, rounded once.
    fn duration(&self, frames: usize) -> i64 {
        let samples =
            u64::try_from(frames).unwrap_or(u64::MAX).saturating_mul(u64::from(self.samples_per_frame));
        let hz = u64::from(self.sample_rate.hz());
        let ticks = samples.saturating_mul(u64::from(Timescale::MPEG.hz())).saturating_add(hz / 2) / hz;
        i64::try_from(ticks).unwrap_or(i64::MAX)
    }
}

/// Frames that will share the next PES packet, or more than one at a segment's end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Queue {
    frames: Vec<Frame>,
    size: usize,
}

impl Queue {
    /// True when `frame` cannot follow what is queued in the same PES packet.
    pub(crate) fn must_close_before(&self, track: &AudioTrack, frame: &Frame) -> bool {
        let Some(first) = self.frames.first() else { return false };
        let expected = first.pts.saturating_add(track.duration(self.frames.len()));
        expected.abs_diff(frame.pts) > PTS_TOLERANCE || self.size + frame.size() > PES_PAYLOAD_MAX
    }

    /// True when the queue makes a PES packet: another frame would stretch it too far, or it is large enough.
    pub(crate) fn is_due(&self, track: &AudioTrack) -> bool {
        self.size >= PES_SIZE_WANTED || track.duration(self.frames.len() + 1) > PES_SPAN_MAX
    }

    /// PTS of the first frame.
    pub(crate) fn first_pts(&self) -> Option<i64> {
        self.frames.first().map(|frame| frame.pts)
    }

    pub(crate) fn push(&mut self, frame: Frame) {
        self.size += frame.size();
        self.frames.push(frame);
    }

    pub(crate) fn clear(&mut self) {
        self.frames.clear();
        self.size = 0;
    }

    /// The frames before the first one at or past `cut`; all without a cut.
    pub(crate) fn before(&self, cut: Option<i64>) -> &[Frame] {
        let end = cut.and_then(|cut| self.frames.iter().position(|frame| frame.pts >= cut));
        end.and_then(|end| self.frames.get(..end)).unwrap_or(&self.frames)
    }

    /// Forgets the first `count` frames.
    pub(crate) fn discard(&mut self, count: usize) {
        self.frames.drain(..count.min(self.frames.len()));
        self.size = self.frames.iter().map(Frame::size).sum();
    }
}
