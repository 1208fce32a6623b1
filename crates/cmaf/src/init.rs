//! Init segments: `ftyp` + `moov` of one track, the same bytes for the same configuration, always.

use bytes::Bytes;
use headwater_codec::aac::AudioSpecificConfig;
use headwater_codec::h264::AvcConfig;
use headwater_media::{AudioCodec, AudioConfig, Colour, Timescale, VideoCodec, VideoConfig};
use sha2::{Digest, Sha256};

use crate::Error;
use crate::boxes::{put_u16, put_u32, put_zeros, write_box, write_full_box};

/// The track of every file: a file has one, and MSE ties tracks by id only within a SourceBuffer.
pub const TRACK_ID: u32 = 1;

/// Longest AudioSpecificConfig written. Two to five bytes are usual; a program config element with its comment stays below
/// 400.
pub const AUDIO_RECORD_SIZE_MAX: usize = 1_024;

/// `mdhd` language "und", three letters of five bits.
const LANGUAGE_UNDETERMINED: u16 = 0x55c4;

/// The unity transformation of `mvhd` and `tkhd`: 16.16, 16.16, 2.30 by column.
const MATRIX: [u32; 9] = [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000];

/// An init segment: what a player needs before the first chunk of a track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitSegment {
    /// `ftyp` and `moov`.
    pub bytes: Bytes,
    /// The first 64 bits of the SHA-256 of `bytes`, as 16 lower-case hexadecimal digits: the name changes exactly when the
    /// content does, in every process.
    pub name_hash: String,
}

impl InitSegment {
    fn new(bytes: Vec<u8>) -> InitSegment {
        let digest = Sha256::digest(&bytes);
        let name_hash = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        InitSegment { bytes: bytes.into(), name_hash }
    }
}

/// The init segment of a video track: sample entry `avc1` with `avcC`, `colr` when the bitstream says its colours, `pasp`
/// when its samples are not square. The timescale is 90 kHz.
///
/// # Errors
/// [`Error::VideoRecord`], [`Error::Dimensions`].
pub fn video_init(config: &VideoConfig) -> Result<InitSegment, Error> {
    let VideoCodec::H264 = config.codec;
    // The canonical record: 4-byte lengths, and the high-profile extension that some encoders leave out.
    let record = AvcConfig::parse(&config.record).map_err(Error::VideoRecord)?.to_record();
    let &VideoConfig { width, height, .. } = config;
    let entry_size = |size: u32| u16::try_from(size).ok().filter(|size| *size > 0);
    let (Some(entry_width), Some(entry_height)) = (entry_size(width), entry_size(height)) else {
        return Err(Error::Dimensions { width, height });
    };
    let aspect = Some(config.sample_aspect_ratio).filter(|(h, v)| h != v && *h > 0 && *v > 0);
    let display_width = aspect.map_or(u64::from(width) << 16, |(h, v)| {
        // 64 bits hold 16 + 16 + 16.
        (u64::from(entry_width) << 16) * u64::from(h) / u64::from(v)
    });

    let track = Track {
        timescale: Timescale::MPEG,
        volume: 0,
        // A ratio beyond what 16.16 can say is an encoder's mistake; `pasp` still has it.
        width: u32::try_from(display_width).unwrap_or(u32::MAX),
        height: u32::from(entry_height) << 16,
        handler: *b"vide",
        handler_name: b"Video\0",
    };
    let media_header = |out: &mut Vec<u8>| {
        // 14496-12 12.1.2: flags 1; graphicsmode 0, opcolor 0.
        write_full_box(out, *b"vmhd", 0, 1, |out| put_zeros(out, 8));
    };
    let sample_entry = |out: &mut Vec<u8>| {
        write_box(out, *b"avc1", |out| {
            put_zeros(out, 6);
            put_u16(out, 1); // data_reference_index
            put_zeros(out, 16);
            put_u16(out, entry_width);
            put_u16(out, entry_height);
            put_u32(out, 72 << 16); // 72 dpi
            put_u32(out, 72 << 16);
            put_u32(out, 0);
            put_u16(out, 1); // frame_count
            put_zeros(out, 32); // compressorname
            put_u16(out, 24); // depth
            put_u16(out, u16::MAX); // pre_defined, -1
            write_box(out, *b"avcC", |out| out.extend_from_slice(&record));
            if let Some(colour) = &config.colour {
                write_colour(out, colour);
            }
            if let Some((h, v)) = aspect {
                write_box(out, *b"pasp", |out| {
                    put_u32(out, u32::from(h));
                    put_u32(out, u32::from(v));
                });
            }
        });
    };
    Ok(track.init(media_header, sample_entry))
}

/// The init segment of an audio track: sample entry `mp4a` with `esds`. The timescale is
/// [`AudioConfig::sample_rate`].
///
/// # Errors
/// [`Error::AudioRecord`], [`Error::AudioRecordTooLong`].
pub fn audio_init(config: &AudioConfig) -> Result<InitSegment, Error> {
    let (object_type, specific): (u8, Option<&Bytes>) = match config.codec {
        AudioCodec::Aac => {
            if config.record.len() > AUDIO_RECORD_SIZE_MAX {
                return Err(Error::AudioRecordTooLong(config.record.len()));
            }
            AudioSpecificConfig::parse(&config.record).map_err(Error::AudioRecord)?;
            (0x40, Some(&config.record))
        }
        // MPEG-1 layer III has 1,152 samples in a frame, the lower rates of MPEG-2 half as many.
        AudioCodec::Mp3 => (if config.samples_per_frame == 1_152 { 0x6b } else { 0x69 }, None),
    };
    let track = Track {
        timescale: config.sample_rate,
        volume: 0x0100,
        width: 0,
        height: 0,
        handler: *b"soun",
        handler_name: b"Audio\0",
    };
    let media_header = |out: &mut Vec<u8>| write_full_box(out, *b"smhd", 0, 0, |out| put_zeros(out, 4));
    let sample_entry = |out: &mut Vec<u8>| {
        write_box(out, *b"mp4a", |out| {
            put_zeros(out, 6);
            put_u16(out, 1); // data_reference_index
            put_zeros(out, 8);
            put_u16(out, u16::from(config.channels));
            put_u16(out, 16); // samplesize
            put_u32(out, 0);
            // 16.16; a rate that does not fit is 0, and the decoder's record says it.
            put_u32(out, u16::try_from(config.output_sample_rate).map_or(0, |rate| u32::from(rate) << 16));
            write_full_box(out, *b"esds", 0, 0, |out| {
                write_es_descriptor(out, object_type, specific.map(|record| &record[..]));
            });
        });
    };
    Ok(track.init(media_header, sample_entry))
}

/// What differs between the boxes of a video and an audio track outside the sample entry.
struct Track {
    timescale: Timescale,
    /// 8.8.
    volume: u16,
    /// 16.16.
    width: u32,
    height: u32,
    handler: [u8; 4],
    handler_name: &'static [u8],
}

impl Track {
    fn init(
        &self,
        media_header: impl FnOnce(&mut Vec<u8>),
        sample_entry: impl FnOnce(&mut Vec<u8>),
    ) -> InitSegment {
        let mut out = Vec::with_capacity(1_024);
        write_box(&mut out, *b"ftyp", |out| {
            out.extend_from_slice(b"cmfc");
            put_u32(out, 0);
            // 8216bis 3.1.2: iso6 or higher has to be among them.
            out.extend_from_slice(b"iso6cmfcmp41dash");
        });
        write_box(&mut out, *b"moov", |out| {
            self.write_movie_header(out);
            write_box(out, *b"trak", |out| {
                self.write_track_header(out);
                write_box(out, *b"mdia", |out| {
                    self.write_media(out, media_header, sample_entry);
                });
            });
            // No mehd: nobody knows how long a live stream will be.
            write_box(out, *b"mvex", |out| {
                write_full_box(out, *b"trex", 0, 0, |out| {
                    put_u32(out, TRACK_ID);
                    put_u32(out, 1); // default_sample_description_index
                    put_zeros(out, 12); // every chunk brings its own duration, size and flags
                });
            });
        });
        InitSegment::new(out)
    }

    fn write_movie_header(&self, out: &mut Vec<u8>) {
        write_full_box(out, *b"mvhd", 0, 0, |out| {
            put_zeros(out, 8); // no creation time: equal configurations, equal bytes
            put_u32(out, self.timescale.hz());
            put_u32(out, 0); // duration
            put_u32(out, 0x1_0000); // rate
            put_u16(out, 0x0100); // volume
            put_zeros(out, 10);
            MATRIX.into_iter().for_each(|element| put_u32(out, element));
            put_zeros(out, 24);
            put_u32(out, TRACK_ID + 1); // next_track_ID
        });
    }

    fn write_track_header(&self, out: &mut Vec<u8>) {
        // Flags: enabled, in movie, in preview.
        write_full_box(out, *b"tkhd", 0, 7, |out| {
            put_zeros(out, 8);
            put_u32(out, TRACK_ID);
            put_zeros(out, 4 + 4 + 8 + 2 + 2); // reserved, duration, reserved, layer, alternate_group
            put_u16(out, self.volume);
            put_zeros(out, 2);
            MATRIX.into_iter().for_each(|element| put_u32(out, element));
            put_u32(out, self.width);
            put_u32(out, self.height);
        });
    }

    fn write_media(
        &self,
        out: &mut Vec<u8>,
        media_header: impl FnOnce(&mut Vec<u8>),
        sample_entry: impl FnOnce(&mut Vec<u8>),
    ) {
        write_full_box(out, *b"mdhd", 0, 0, |out| {
            put_zeros(out, 8);
            put_u32(out, self.timescale.hz());
            put_u32(out, 0); // duration
            put_u16(out, LANGUAGE_UNDETERMINED);
            put_zeros(out, 2);
        });
        write_full_box(out, *b"hdlr", 0, 0, |out| {
            put_zeros(out, 4);
            out.extend_from_slice(&self.handler);
            put_zeros(out, 12);
            out.extend_from_slice(self.handler_name);
        });
        write_box(out, *b"minf", |out| {
            media_header(out);
            write_box(out, *b"dinf", |out| {
                write_full_box(out, *b"dref", 0, 0, |out| {
                    put_u32(out, 1);
                    // Flags 1: the media is in this file.
                    write_full_box(out, *b"url ", 0, 1, |_| {});
                });
            });
            write_box(out, *b"stbl", |out| {
                write_full_box(out, *b"stsd", 0, 0, |out| {
                    put_u32(out, 1);
                    sample_entry(out);
                });
                // 8216bis 3.1.1: no samples here, but the tables have to be.
                for table in [b"stts", b"stsc"] {
                    write_full_box(out, *table, 0, 0, |out| put_u32(out, 0));
                }
                write_full_box(out, *b"stsz", 0, 0, |out| put_zeros(out, 8));
                write_full_box(out, *b"stco", 0, 0, |out| put_u32(out, 0));
            });
        });
    }
}

/// `colr` of type nclx (14496-12 12.1.5).
fn write_colour(out: &mut Vec<u8>, colour: &Colour) {
    write_box(out, *b"colr", |out| {
        out.extend_from_slice(b"nclx");
        for code_point in [colour.primaries, colour.transfer, colour.matrix] {
            put_u16(out, u16::from(code_point));
        }
        out.push(if colour.full_range { 0x80 } else { 0 });
    });
}

/// ES_Descriptor of 14496-1 7.2.6.5 as 14496-14 3.1.2 wants it. Bit rates and buffer size are 0, unknown: they are the
/// encoder's secret, and measured ones would make the bytes differ from run to run.
fn write_es_descriptor(out: &mut Vec<u8>, object_type: u8, specific: Option<&[u8]>) {
    let mut decoder_config = vec![object_type];
    // streamType 5 (audio), upStream 0, reserved 1.
    decoder_config.push(0x15);
    put_zeros(&mut decoder_config, 3 + 4 + 4);
    if let Some(record) = specific {
        write_descriptor(&mut decoder_config, 5, record);
    }
    let mut stream = vec![0, 0, 0]; // ES_ID, flags
    write_descriptor(&mut stream, 4, &decoder_config);
    write_descriptor(&mut stream, 6, &[2]); // SLConfig: predefined, MP4
    write_descriptor(out, 3, &stream);
}

/// Tag, size in as few bytes of seven bits as it needs (14496-1 8.3.3), body.
fn write_descriptor(out: &mut Vec<u8>, tag: u8, body: &[u8]) {
    out.push(tag);
    // At most AUDIO_RECORD_SIZE_MAX and three descriptors' fields: two groups of seven bits.
    let size = u16::try_from(body.len()).unwrap_or(u16::MAX);
    let [_, low] = (size & 0x7f).to_be_bytes();
    if let Ok(high @ 1..) = u8::try_from(size >> 7) {
        out.push(0x80 | high);
    }
    out.push(low);
    out.extend_from_slice(body);
}
