//! The extended header of Enhanced RTMP (v1 and v2), parsed as far as naming every track's codec and body.

use std::fmt;

use bytes::Bytes;
use headwater_codec::Error;

use crate::reader::Reader;

/// Rounds of ModEx in front of one message. The text defines one modifier; eight leaves room for its successors.
const MOD_EX_ROUNDS_MAX: usize = 8;
/// Tracks in one message. OBS's multitrack video sends at most six renditions.
pub(crate) const TRACKS_MAX: usize = 16;

/// Packet types that audio and video share by number and meaning; 3 (no composition time) and 4 (metadata,
/// channel layout) are the caller's to tell apart.
pub(crate) const SEQUENCE_START: u8 = 0;
pub(crate) const CODED_FRAMES: u8 = 1;
pub(crate) const SEQUENCE_END: u8 = 2;
pub(crate) const CODED_FRAMES_X: u8 = 3;
pub(crate) const METADATA: u8 = 4;
const MULTITRACK: u8 = 5;
const VIDEO_MULTITRACK: u8 = 6;
const MOD_EX: u8 = 7;
/// Video frame type of commands.
const COMMAND_FRAME: u8 = 5;

/// Four characters that name a codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FourCc(pub(crate) [u8; 4]);

impl FourCc {
    pub(crate) const AVC: FourCc = FourCc(*b"avc1");
    pub(crate) const AAC: FourCc = FourCc(*b"mp4a");
    pub(crate) const MP3: FourCc = FourCc(*b".mp3");

    /// The codec's usual name.
    fn name(self) -> &'static str {
        match &self.0 {
            b"avc1" => "H.264",
            b"hvc1" => "HEVC",
            b"vvc1" => "VVC",
            b"av01" => "AV1",
            b"vp08" => "VP8",
            b"vp09" => "VP9",
            b"mp4a" => "AAC",
            b".mp3" => "MP3",
            b"Opus" => "Opus",
            b"fLaC" => "FLAC",
            b"ac-3" => "AC-3",
            b"ec-3" => "E-AC-3",
            _ => "unknown",
        }
    }
}

/// For error messages: `HEVC (hvc1)`. Whatever the peer sent, the result is printable ASCII.
impl fmt::Display for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.0.escape_ascii())
    }
}

/// One track's share of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) four_cc: FourCc,
    pub(crate) track_id: u8,
    pub(crate) body: Bytes,
}

/// An extended message. `parts` holds at most [`TRACKS_MAX`]; one, of track 0, unless it is a multitrack message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message {
    Media {
        /// Video frame type; 0 for audio.
        frame_type: u8,
        packet_type: u8,
        parts: Vec<Part>,
    },
    /// A video command (start or end of client-side seek), which has neither codec nor body.
    Command,
}

/// Parses a video message from its first byte, whose top bit is set.
pub(crate) fn parse_video(body: Bytes) -> Result<Message, Error> {
    let mut reader = Reader::new(body);
    let header = reader.u8("videoPacketType")?;
    let frame_type = (header >> 4) & 0b111;
    let packet_type = skip_mod_ex(&mut reader, header & 0x0F)?;
    if frame_type == COMMAND_FRAME && packet_type != METADATA {
        reader.u8("videoCommand")?;
        return Ok(Message::Command);
    }
    parse_tracks(reader, frame_type, packet_type, VIDEO_MULTITRACK)
}

/// Parses an audio message from its first byte, whose high nibble is 9.
pub(crate) fn parse_audio(body: Bytes) -> Result<Message, Error> {
    let mut reader = Reader::new(body);
    let header = reader.u8("audioPacketType")?;
    let packet_type = skip_mod_ex(&mut reader, header & 0x0F)?;
    parse_tracks(reader, 0, packet_type, MULTITRACK)
}

/// Passes over the modifiers. Their one known kind moves the presentation time by nanoseconds, which a clock of
/// milliseconds cannot hold.
fn skip_mod_ex(reader: &mut Reader, mut packet_type: u8) -> Result<u8, Error> {
    let mut rounds: usize = 0;
    while packet_type == MOD_EX {
        rounds = rounds.saturating_add(1);
        if rounds > MOD_EX_ROUNDS_MAX {
            return Err(Error::Limit { what: "ModEx rounds", count: rounds, max: MOD_EX_ROUNDS_MAX });
        }
        // A size byte of 255, that is 256, announces a 16-bit size.
        let size = match reader.u8("modExDataSize")? {
            0xFF => usize::from(reader.u16("modExDataSize")?).saturating_add(1),
            size => usize::from(size).saturating_add(1),
        };
        reader.take(size, "modExData")?;
        packet_type = reader.u8("modExType")? & 0x0F;
    }
    Ok(packet_type)
}

fn parse_tracks(
    mut reader: Reader,
    frame_type: u8,
    packet_type: u8,
    multitrack: u8,
) -> Result<Message, Error> {
    if packet_type != multitrack {
        let four_cc = FourCc(reader.array("fourCc")?);
        let parts = vec![Part { four_cc, track_id: 0, body: reader.into_rest() }];
        return Ok(Message::Media { frame_type, packet_type, parts });
    }
    let header = reader.u8("multitrackType")?;
    let (multitrack_type, packet_type) = (header >> 4, header & 0x0F);
    if packet_type == multitrack || packet_type == MOD_EX {
        return Err(Error::Invalid { field: "multitrack packet type", value: u64::from(packet_type) });
    }
    let mut parts = Vec::new();
    match multitrack_type {
        0 => {
            let four_cc = FourCc(reader.array("fourCc")?);
            let track_id = reader.u8("trackId")?;
            parts.push(Part { four_cc, track_id, body: reader.into_rest() });
        }
        1 | 2 => {
            let mut four_cc = FourCc([0; 4]);
            if multitrack_type == 1 {
                four_cc = FourCc(reader.array("fourCc")?);
            }
            while !reader.is_empty() {
                if parts.len() >= TRACKS_MAX {
                    let count = parts.len().saturating_add(1);
                    return Err(Error::Limit { what: "tracks in a message", count, max: TRACKS_MAX });
                }
                if multitrack_type == 2 {
                    four_cc = FourCc(reader.array("fourCc")?);
                }
                let track_id = reader.u8("trackId")?;
                let size = usize::try_from(reader.u24("sizeOfTrack")?).unwrap_or(usize::MAX);
                let body = reader.take(size, "track body")?;
                parts.push(Part { four_cc, track_id, body });
            }
        }
        other => return Err(Error::Invalid { field: "multitrackType", value: u64::from(other) }),
    }
    Ok(Message::Media { frame_type, packet_type, parts })
}
