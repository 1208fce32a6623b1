//! What may stand in front of a segment's or a chunk's `moof`: `styp`, `prft` and `emsg`.

use headwater_media::WallTime;

use crate::boxes::{put_u32, put_u64, write_box, write_full_box};
use crate::init::TRACK_ID;

/// Appends a segment type box (ISO/IEC 14496-12 8.16.2): a DASH media segment that is a CMAF segment.
///
/// Optional. It is only ever the first bytes of a segment, and then also of the segment's first part.
pub fn write_styp(out: &mut Vec<u8>) {
    write_box(out, *b"styp", |out| {
        out.extend_from_slice(b"msdh");
        put_u32(out, 0);
        out.extend_from_slice(b"msdhcmfs");
    });
}

/// What happened at the wall-clock time of a [`ProducerReferenceTime`]: the flags of `prft` (ISO/IEC 14496-12 8.16.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Moment {
    /// The picture entered the encoder.
    EncoderInput,
    /// The picture left the encoder.
    EncoderOutput,
    /// The `moof` that follows was complete.
    MoofFinalized,
    /// The `moof` that follows was written.
    MoofWritten,
    /// Some moment, the same for every `prft` of the track.
    Arbitrary,
    /// The picture was captured.
    Captured,
}

impl Moment {
    fn flags(self) -> u32 {
        match self {
            Moment::EncoderInput => 0,
            Moment::EncoderOutput => 1,
            Moment::MoofFinalized => 2,
            Moment::MoofWritten => 4,
            Moment::Arbitrary => 8,
            Moment::Captured => 24,
        }
    }
}

/// The wall-clock time of a chunk's earliest picture (`prft`): players measure their latency by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerReferenceTime {
    /// When it happened.
    pub wall: WallTime,
    /// What happened.
    pub moment: Moment,
    /// Presentation time, in ticks of the track's timescale, of the earliest picture of the `moof` that follows. In a segment's
    /// first chunk that is its base_media_decode_time.
    pub media_time: u64,
}

impl ProducerReferenceTime {
    /// Appends the box, version 1, 32 bytes. The chunk it describes comes next.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_full_box(out, *b"prft", 1, self.moment.flags(), |out| {
            put_u32(out, TRACK_ID);
            put_u64(out, ntp_timestamp(self.wall));
            put_u64(out, self.media_time);
        });
    }
}

/// event_duration of an event that does not say how long it lasts.
const DURATION_UNKNOWN: u32 = u32::MAX;

/// Something that happens at a media time: what DASH calls an event message (ISO/IEC 23009-1 5.10.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventMessage<'a> {
    /// What kind of message it is; a URI without a zero byte. Players act on those that they know.
    pub scheme: &'a str,
    /// Ticks per second of the times: the track's timescale.
    pub timescale: u32,
    /// When it happens, in ticks of the track's media timeline.
    pub presentation_time: u64,
    /// How long it lasts, in ticks; `None` where that is not known.
    pub duration: Option<u32>,
    /// Another one for every message of the scheme: players take the same for a repetition.
    pub id: u32,
    /// What it says.
    pub data: &'a [u8],
}

impl EventMessage<'_> {
    /// Appends the box, version 1. It stands in front of the `moof` of a chunk that is not later than the event.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_full_box(out, *b"emsg", 1, 0, |out| {
            put_u32(out, self.timescale);
            put_u64(out, self.presentation_time);
            put_u32(out, self.duration.unwrap_or(DURATION_UNKNOWN));
            put_u32(out, self.id);
            out.extend_from_slice(self.scheme.as_bytes());
            // The scheme ends here, and so does a value that says nothing more of it.
            out.extend_from_slice(&[0, 0]);
            out.extend_from_slice(self.data);
        });
    }
}

/// NTP's 64 bits (RFC 5905 6): seconds since 1900 modulo 2^32 (the next era begins in 2036), then the fraction in units of
/// 2^-32 s.
fn ntp_timestamp(wall: WallTime) -> u64 {
    /// From 1900-01-01 to 1970-01-01: 70 years and 17 leap days.
    const UNIX_EPOCH: u64 = 2_208_988_800;
    let ms = wall.unix_millis().unsigned_abs();
    let seconds = (ms / 1_000).wrapping_add(UNIX_EPOCH);
    (seconds << 32) | (((ms % 1_000) << 32) / 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn styp_by_the_byte() {
        let mut out = Vec::new();
        write_styp(&mut out);
        assert_eq!(out, b"\0\0\0\x18stypmsdh\0\0\0\0msdhcmfs");
    }

    #[test]
    fn prft_by_the_byte() {
        for (moment, flags) in [
            (Moment::EncoderInput, 0),
            (Moment::EncoderOutput, 1),
            (Moment::MoofFinalized, 2),
            (Moment::MoofWritten, 4),
            (Moment::Arbitrary, 8),
            (Moment::Captured, 24),
        ] {
            let wall = WallTime::from_unix_millis(1_767_225_600_250);
            let mut out = b"before".to_vec();
            ProducerReferenceTime { wall, moment, media_time: 0x1_0203_0405 }.write(&mut out);
            // 2026-01-01 is 3,976,214,400 s after 1900, 0xed003780; a quarter of a second.
            let mut expected = b"before\0\0\0\x20prft\x01\0\0".to_vec();
            expected.push(flags);
            expected.extend_from_slice(b"\0\0\0\x01\xed\x00\x37\x80\x40\0\0\0\0\0\0\x01\x02\x03\x04\x05");
            assert_eq!(out, expected, "{moment:?}");
        }
    }

    #[test]
    fn emsg_by_the_byte() {
        let event = EventMessage {
            scheme: "urn:a",
            timescale: 90_000,
            presentation_time: 0x2_0000_0001,
            duration: Some(180_000),
            id: 7,
            data: b"ID3",
        };
        let mut out = Vec::new();
        event.write(&mut out);
        let head = b"\0\0\0\x2aemsg\x01\0\0\0\0\x01\x5f\x90\0\0\0\x02\0\0\0\x01";
        assert_eq!(out, [head.as_slice(), b"\0\x02\xbf\x20\0\0\0\x07urn:a\0\0ID3"].concat());
        let mut open = Vec::new();
        EventMessage { duration: None, ..event }.write(&mut open);
        assert_eq!(open.get(24..28), Some([0xff; 4].as_slice()));
    }

    #[test]
    fn ntp_goes_over_into_its_next_era() {
        for (unix_ms, expected) in [
            (0, 0x83aa_7e80_0000_0000),
            (999, 0x83aa_7e80_ffbe_76c8),
            (2_085_978_495_999, 0xffff_ffff_ffbe_76c8),
            (2_085_978_496_000, 0),
            (2_085_978_497_500, 0x0000_0001_8000_0000),
        ] {
            assert_eq!(ntp_timestamp(WallTime::from_unix_millis(unix_ms)), expected, "{unix_ms}");
        }
    }
}
