//! Init segments: `ftyp` + `moov`, the same bytes for the same configuration, always. Of one track for HLS and DASH; of both for
//! a continuous file.

use bytes::Bytes;
use headwater_codec::aac::AudioSpecificConfig;
use headwater_codec::h264::AvcConfig;
use headwater_media::{AudioCodec, AudioConfig, Colour, Timescale, VideoCodec, VideoConfig};
use sha2::{Digest, Sha256};

use crate::Error;
use crate::boxes::{put_u16, put_u32, put_zeros, write_box, write_full_box};

/// The track of every file that has one: MSE ties tracks by id only within a SourceBuffer.
pub const TRACK_ID: u32 = 1;

/// The tracks of a file with both, each the same when the other is missing.
pub const VIDEO_TRACK_ID: u32 = 1;
/// See [`VIDEO_TRACK_ID`].
pub const AUDIO_TRACK_ID: u32 = 2;

/// Brands of a file that is a CMAF track; 8216bis 3.1.2: iso6 or higher has to be among the compatible ones.
const TRACK_BRANDS: Brands = Brands { major: *b"cmfc", compatible: b"iso6cmfcmp41dash" };
/// Brands of a file with several tracks, which CMAF has none for.
const MOVIE_BRANDS: Brands = Brands { major: *b"iso6", compatible: b"iso6mp41" };

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
    /// Of bytes as this crate made them, now or in an earlier process.
    pub fn new(bytes: Vec<u8>) -> InitSegment {
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
    Ok(InitSegment::new(movie(&TRACK_BRANDS, &[(TRACK_ID, video_track(config)?)])))
}

/// `ftyp` and `moov` of a file in which chunks of both tracks follow one another: what a SourceBuffer takes as one stream, and
/// what a player that knows no manifest reads. Chunks name their track ([`crate::ChunkWriter::for_track`]).
///
/// # Errors
/// As [`video_init`] and [`audio_init`].
pub fn movie_init(video: Option<&VideoConfig>, audio: Option<&AudioConfig>) -> Result<InitSegment, Error> {
    let video = video.map(|video| Ok((VIDEO_TRACK_ID, video_track(video)?)));
    let audio = audio.map(|audio| Ok((AUDIO_TRACK_ID, audio_track(audio)?)));
    let tracks = video.into_iter().chain(audio).collect::<Result<Vec<_>, Error>>()?;
    Ok(InitSegment::new(movie(&MOVIE_BRANDS, &tracks)))
}

fn video_track(config: &VideoConfig) -> Result<Track, Error> {
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

    let mut media_header = Vec::new();
    // 14496-12 12.1.2: flags 1; graphicsmode 0, opcolor 0.
    write_full_box(&mut media_header, *b"vmhd", 0, 1, |out| put_zeros(out, 8));
    let mut sample_entry = Vec::new();
    write_box(&mut sample_entry, *b"avc1", |out| {
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
    Ok(Track {
        timescale: Timescale::MPEG,
        volume: 0,
        // A ratio beyond what 16.16 can say is an encoder's mistake; `pasp` still has it.
        width: u32::try_from(display_width).unwrap_or(u32::MAX),
        height: u32::from(entry_height) << 16,
        handler: *b"vide",
        handler_name: b"Video\0",
        media_header,
        sample_entry,
    })
}

/// The init segment of an audio track: sample entry `mp4a` with `esds`. The timescale is
/// [`AudioConfig::sample_rate`].
///
/// # Errors
/// [`Error::AudioRecord`], [`Error::AudioRecordTooLong`].
pub fn audio_init(config: &AudioConfig) -> Result<InitSegment, Error> {
    Ok(InitSegment::new(movie(&TRACK_BRANDS, &[(TRACK_ID, audio_track(config)?)])))
}

fn audio_track(config: &AudioConfig) -> Result<Track, Error> {
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
    let mut media_header = Vec::new();
    write_full_box(&mut media_header, *b"smhd", 0, 0, |out| put_zeros(out, 4));
    let mut sample_entry = Vec::new();
    write_box(&mut sample_entry, *b"mp4a", |out| {
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
    Ok(Track {
        timescale: config.sample_rate,
        volume: 0x0100,
        width: 0,
        height: 0,
        handler: *b"soun",
        handler_name: b"Audio\0",
        media_header,
        sample_entry,
    })
}

/// What differs between the boxes of a video and an audio track.
struct Track {
    timescale: Timescale,
    /// 8.8.
    volume: u16,
    /// 16.16.
    width: u32,
    height: u32,
    handler: [u8; 4],
    handler_name: &'static [u8],
    /// `vmhd` or `smhd`.
    media_header: Vec<u8>,
    sample_entry: Vec<u8>,
}

/// What `ftyp` says.
struct Brands {
    major: [u8; 4],
    compatible: &'static [u8],
}

/// `ftyp` and `moov` of these tracks, each with its number, in rising order.
fn movie(brands: &Brands, tracks: &[(u32, Track)]) -> Vec<u8> {
    let mut out = Vec::with_capacity(2_048);
    write_box(&mut out, *b"ftyp", |out| {
        out.extend_from_slice(&brands.major);
        put_u32(out, 0);
        out.extend_from_slice(brands.compatible);
    });
    write_box(&mut out, *b"moov", |out| {
        write_movie_header(out, tracks);
        for (track_id, track) in tracks {
            write_box(out, *b"trak", |out| {
                track.write_track_header(out, *track_id);
                write_box(out, *b"mdia", |out| track.write_media(out));
            });
        }
        // No mehd: nobody knows how long a live stream will be.
        write_box(out, *b"mvex", |out| {
            for (track_id, _) in tracks {
                write_full_box(out, *b"trex", 0, 0, |out| {
                    put_u32(out, *track_id);
                    put_u32(out, 1); // default_sample_description_index
                    put_zeros(out, 12); // every chunk brings its own duration, size and flags
                });
            }
        });
    });
    out
}

fn write_movie_header(out: &mut Vec<u8>, tracks: &[(u32, Track)]) {
    // Only durations are counted in it, and there are none.
    let timescale = tracks.first().map_or(Timescale::MPEG, |(_, track)| track.timescale);
    let last = tracks.last().map_or(0, |(track_id, _)| *track_id);
    write_full_box(out, *b"mvhd", 0, 0, |out| {
        put_zeros(out, 8); // no creation time: equal configurations, equal bytes
        put_u32(out, timescale.hz());
        put_u32(out, 0); // duration
        put_u32(out, 0x1_0000); // rate
        put_u16(out, 0x0100); // volume
        put_zeros(out, 10);
        MATRIX.into_iter().for_each(|element| put_u32(out, element));
        put_zeros(out, 24);
        put_u32(out, last.saturating_add(1)); // next_track_ID
    });
}

impl Track {
    fn write_track_header(&self, out: &mut Vec<u8>, track_id: u32) {
        // Flags: enabled, in movie, in preview.
        write_full_box(out, *b"tkhd", 0, 7, |out| {
            put_zeros(out, 8);
            put_u32(out, track_id);
            put_zeros(out, 4 + 4 + 8 + 2 + 2); // reserved, duration, reserved, layer, alternate_group
            put_u16(out, self.volume);
            put_zeros(out, 2);
            MATRIX.into_iter().for_each(|element| put_u32(out, element));
            put_u32(out, self.width);
            put_u32(out, self.height);
        });
    }

    fn write_media(&self, out: &mut Vec<u8>) {
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
            out.extend_from_slice(&self.media_header);
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
                    out.extend_from_slice(&self.sample_entry);
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

#[cfg(test)]
mod tests {
    use super::*;

    /// x264, High, 320x180.
    const RECORD: &[u8] = &[
        0x01, 0x64, 0x00, 0x0c, 0xff, 0xe1, 0x00, 0x1a, 0x67, 0x64, 0x00, 0x0c, 0xac, 0xd9, 0x41, 0x41, 0x9f,
        0x9f, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00, 0x00, 0x03, 0x03, 0x20, 0xf1, 0x42, 0x99, 0x60,
        0x01, 0x00, 0x06, 0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0, 0xfd, 0xf8, 0xf8, 0x00,
    ];

    fn video() -> VideoConfig {
        VideoConfig {
            codec: VideoCodec::H264,
            record: Bytes::from_static(RECORD),
            codec_string: "avc1.64000c".into(),
            width: 320,
            height: 180,
            sample_aspect_ratio: (1, 1),
            frame_rate: None,
            colour: None,
            reorder_frames_max: None,
        }
    }

    fn audio() -> AudioConfig {
        AudioConfig {
            codec: AudioCodec::Aac,
            record: Bytes::from_static(&[0x11, 0x90]),
            codec_string: "mp4a.40.2".into(),
            sample_rate: Timescale::new(48_000).unwrap(),
            output_sample_rate: 48_000,
            channels: 2,
            samples_per_frame: 1_024,
        }
    }

    /// The box at a path of types, with its header; `stsd` and `dref` are entered past their counts.
    fn find<'a>(mut bytes: &'a [u8], path: &str) -> &'a [u8] {
        let mut found = bytes;
        for name in path.split('/') {
            found = loop {
                let size = u32::from_be_bytes(bytes[..4].try_into().unwrap());
                let (this, rest) = bytes.split_at(usize::try_from(size).unwrap());
                if &this[4..8] == name.as_bytes() {
                    break this;
                }
                bytes = rest;
            };
            bytes = match name {
                "stsd" | "dref" => &found[16..],
                "avc1" => &found[86..],
                "mp4a" => &found[36..],
                _ => &found[8..],
            };
        }
        found
    }

    /// (path, box by the byte)
    fn assert_boxes(init: &[u8], boxes: &[(&str, &[u8])]) {
        for (path, expected) in boxes {
            assert_eq!(
                find(init, path).escape_ascii().to_string(),
                expected.escape_ascii().to_string(),
                "{path}"
            );
        }
    }

    /// Types of all boxes in the order they come, children in brackets; proves on the way that sizes add up.
    fn outline(mut bytes: &[u8]) -> String {
        let mut outline = Vec::new();
        while !bytes.is_empty() {
            let size = usize::try_from(u32::from_be_bytes(bytes[..4].try_into().unwrap())).unwrap();
            let name = std::str::from_utf8(&bytes[4..8]).unwrap();
            let (this, rest) = bytes.split_at(size);
            outline.push(match name {
                "moov" | "trak" | "mdia" | "minf" | "dinf" | "stbl" | "mvex" => {
                    format!("{name}[{}]", outline_of(&this[8..]))
                }
                "stsd" | "dref" => format!("{name}[{}]", outline_of(&this[16..])),
                "avc1" => format!("{name}[{}]", outline_of(&this[86..])),
                "mp4a" => format!("{name}[{}]", outline_of(&this[36..])),
                _ => name.to_owned(),
            });
            bytes = rest;
        }
        outline.join(" ")
    }

    fn outline_of(bytes: &[u8]) -> String {
        outline(bytes)
    }

    const UNITY: &[u8] = b"\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x40\0\0\0";

    #[test]
    fn video_by_the_byte() {
        let init = video_init(&video()).unwrap();
        assert_eq!(
            outline(&init.bytes),
            "ftyp moov[mvhd trak[tkhd mdia[mdhd hdlr minf[vmhd dinf[dref[url ]] \
             stbl[stsd[avc1[avcC]] stts stsc stsz stco]]]] mvex[trex]]"
        );
        let mvhd = [
            b"\0\0\0\x6cmvhd\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x5f\x90\0\0\0\0\0\x01\0\0\x01\0\0\0\0\0\0\0\0\0\0\0",
            UNITY,
            &[0; 24],
            &[0, 0, 0, 2],
        ]
        .concat();
        let tkhd = [
            &b"\0\0\0\x5ctkhd\0\0\0\x07\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0"[..],
            &[0; 16],
            UNITY,
            b"\x01\x40\0\0\0\xb4\0\0",
        ]
        .concat();
        let avc1 = [
            &[0, 0, 0, u8::try_from(86 + 8 + RECORD.len()).unwrap()][..],
            b"avc1\0\0\0\0\0\0\0\x01",
            &[0; 16],
            b"\x01\x40\0\xb4\0\x48\0\0\0\x48\0\0\0\0\0\0\0\x01",
            &[0; 32],
            b"\0\x18\xff\xff",
            &[0, 0, 0, u8::try_from(8 + RECORD.len()).unwrap()],
            b"avcC",
            RECORD,
        ]
        .concat();
        assert_boxes(
            &init.bytes,
            &[
                ("ftyp", b"\0\0\0\x20ftypcmfc\0\0\0\0iso6cmfcmp41dash"),
                ("moov/mvhd", &mvhd),
                ("moov/trak/tkhd", &tkhd),
                (
                    "moov/trak/mdia/mdhd",
                    b"\0\0\0\x20mdhd\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x5f\x90\0\0\0\0\x55\xc4\0\0",
                ),
                ("moov/trak/mdia/hdlr", b"\0\0\0\x26hdlr\0\0\0\0\0\0\0\0vide\0\0\0\0\0\0\0\0\0\0\0\0Video\0"),
                ("moov/trak/mdia/minf/vmhd", b"\0\0\0\x14vmhd\0\0\0\x01\0\0\0\0\0\0\0\0"),
                (
                    "moov/trak/mdia/minf/dinf",
                    b"\0\0\0\x24dinf\0\0\0\x1cdref\0\0\0\0\0\0\0\x01\0\0\0\x0curl \0\0\0\x01",
                ),
                ("moov/trak/mdia/minf/stbl/stsd/avc1", &avc1),
                ("moov/trak/mdia/minf/stbl/stts", b"\0\0\0\x10stts\0\0\0\0\0\0\0\0"),
                ("moov/trak/mdia/minf/stbl/stsc", b"\0\0\0\x10stsc\0\0\0\0\0\0\0\0"),
                ("moov/trak/mdia/minf/stbl/stsz", b"\0\0\0\x14stsz\0\0\0\0\0\0\0\0\0\0\0\0"),
                ("moov/trak/mdia/minf/stbl/stco", b"\0\0\0\x10stco\0\0\0\0\0\0\0\0"),
                (
                    "moov/mvex",
                    b"\0\0\0\x28mvex\0\0\0\x20trex\0\0\0\0\0\0\0\x01\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0",
                ),
            ],
        );
    }

    #[test]
    fn colour_and_shape_by_the_byte() {
        let colour = Colour { primaries: 9, transfer: 16, matrix: 10, full_range: true };
        let config = VideoConfig { colour: Some(colour), sample_aspect_ratio: (4, 3), ..video() };
        let init = video_init(&config).unwrap();
        assert_boxes(
            &init.bytes,
            &[
                ("moov/trak/mdia/minf/stbl/stsd/avc1/colr", b"\0\0\0\x13colrnclx\0\x09\0\x10\0\x0a\x80"),
                ("moov/trak/mdia/minf/stbl/stsd/avc1/pasp", b"\0\0\0\x10pasp\0\0\0\x04\0\0\0\x03"),
            ],
        );
        // 320 * 4 / 3 = 426 and two thirds, in 16.16.
        assert_eq!(find(&init.bytes, "moov/trak/tkhd")[84..], *b"\x01\xaa\xaa\xaa\0\xb4\0\0");
        let range = Colour { full_range: false, ..colour };
        let init = video_init(&VideoConfig { colour: Some(range), ..config }).unwrap();
        assert!(find(&init.bytes, "moov/trak/mdia/minf/stbl/stsd/avc1/colr").ends_with(&[0x0a, 0]));
    }

    #[test]
    fn shapes_that_mean_nothing_are_left_out() {
        for (ratio, width) in
            [((0, 3), 320 << 16), ((3, 0), 320 << 16), ((2, 2), 320 << 16), ((u16::MAX, 1), u32::MAX)]
        {
            let init = video_init(&VideoConfig { sample_aspect_ratio: ratio, ..video() }).unwrap();
            let tkhd = find(&init.bytes, "moov/trak/tkhd");
            assert_eq!(u32::from_be_bytes(tkhd[84..88].try_into().unwrap()), width, "{ratio:?}");
            assert_eq!(outline(&init.bytes).contains("pasp"), ratio == (u16::MAX, 1), "{ratio:?}");
        }
    }

    #[test]
    fn audio_by_the_byte() {
        let init = audio_init(&audio()).unwrap();
        assert_eq!(
            outline(&init.bytes),
            "ftyp moov[mvhd trak[tkhd mdia[mdhd hdlr minf[smhd dinf[dref[url ]] \
             stbl[stsd[mp4a[esds]] stts stsc stsz stco]]]] mvex[trex]]"
        );
        let tkhd = [
            &b"\0\0\0\x5ctkhd\0\0\0\x07\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0"[..],
            &[0; 12],
            b"\x01\0\0\0",
            UNITY,
            &[0; 8],
        ]
        .concat();
        assert_boxes(
            &init.bytes,
            &[
                ("moov/trak/tkhd", &tkhd),
                ("moov/trak/mdia/mdhd", b"\0\0\0\x20mdhd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xbb\x80\0\0\0\0\x55\xc4\0\0"),
                ("moov/trak/mdia/hdlr", b"\0\0\0\x26hdlr\0\0\0\0\0\0\0\0soun\0\0\0\0\0\0\0\0\0\0\0\0Audio\0"),
                ("moov/trak/mdia/minf/smhd", b"\0\0\0\x10smhd\0\0\0\0\0\0\0\0"),
                (
                    "moov/trak/mdia/minf/stbl/stsd/mp4a",
                    b"\0\0\0\x4bmp4a\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\x02\0\x10\0\0\0\0\xbb\x80\0\0\
                      \0\0\0\x27esds\0\0\0\0\x03\x19\0\0\0\x04\x11\x40\x15\0\0\0\0\0\0\0\0\0\0\0\x05\x02\x11\x90\x06\x01\x02",
                ),
            ],
        );
    }

    #[test]
    fn sample_entries_of_audio() {
        let entry = |config: &AudioConfig| {
            let init = audio_init(config).unwrap();
            find(&init.bytes, "moov/trak/mdia/minf/stbl/stsd/mp4a").to_vec()
        };
        // MP3 has no record: the descriptor ends after its bit rates.
        let mp3 =
            AudioConfig { codec: AudioCodec::Mp3, record: Bytes::new(), samples_per_frame: 1_152, ..audio() };
        let esds = b"\0\0\0\x23esds\0\0\0\0\x03\x15\0\0\0\x04\x0d\x6b\x15\0\0\0\0\0\0\0\0\0\0\0\x06\x01\x02";
        assert_eq!(entry(&mp3)[36..], *esds);
        let low = AudioConfig { samples_per_frame: 576, ..mp3 };
        assert_eq!(entry(&low)[36 + 19], 0x69);
        // HE-AAC: the entry has the rate that comes out, mdhd the core's.
        let high_efficiency = AudioConfig {
            record: Bytes::from_static(&[0x2b, 0x11, 0x88, 0x00]),
            sample_rate: Timescale::new(24_000).unwrap(),
            ..audio()
        };
        assert_eq!(entry(&high_efficiency)[32..36], *b"\xbb\x80\0\0");
        let init = audio_init(&high_efficiency).unwrap();
        assert_eq!(find(&init.bytes, "moov/trak/mdia/mdhd")[20..24], 24_000_u32.to_be_bytes());
        // 16.16 cannot say 96 kHz.
        assert_eq!(entry(&AudioConfig { output_sample_rate: 96_000, ..audio() })[32..36], [0; 4]);
        // A record of 200 bytes: sizes of two groups of seven bits.
        let long = AudioConfig { record: [&[0x11, 0x90][..], &[0; 198]].concat().into(), ..audio() };
        assert_eq!(
            entry(&long)[48..51],
            [3, 0x81, 0x61],
            "3 + 3 + 13 + 200 bytes, and two tags with their sizes"
        );
    }

    #[test]
    fn the_name_is_the_content() {
        let one = video_init(&video()).unwrap();
        assert_eq!(one, video_init(&video()).unwrap());
        assert_eq!(one.name_hash.len(), 16);
        assert!(one.name_hash.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')));
        // What only a playlist says is not in the file.
        let other_string = VideoConfig { codec_string: "x".into(), frame_rate: Some((25, 1)), ..video() };
        assert_eq!(one, video_init(&other_string).unwrap());
        let smaller = video_init(&VideoConfig { height: 178, ..video() }).unwrap();
        assert_ne!(one.name_hash, smaller.name_hash);
        assert_eq!(
            audio_init(&audio()).unwrap().name_hash,
            "3879943aaf8d9b75",
            "SHA-256 by another program; names that change between versions of this one break every cache"
        );
    }

    #[test]
    fn unusable_configurations_are_refused() {
        let record = |bytes: &[u8]| VideoConfig { record: Bytes::copy_from_slice(bytes), ..video() };
        for end in 0..RECORD.len() {
            // The high-profile extension, the last 4 bytes, is written when it is missing.
            match video_init(&record(&RECORD[..end])) {
                Ok(init) => {
                    assert!(end >= RECORD.len() - 4 && init == video_init(&video()).unwrap(), "{end}");
                }
                Err(error) => assert!(matches!(error, Error::VideoRecord(_)), "{end}: {error}"),
            }
        }
        for (width, height) in [(0, 180), (320, 0), (65_536, 180), (320, u32::MAX)] {
            let config = VideoConfig { width, height, ..video() };
            assert_eq!(video_init(&config), Err(Error::Dimensions { width, height }));
        }
        for record in [&[][..], &[0x11]] {
            let config = AudioConfig { record: Bytes::copy_from_slice(record), ..audio() };
            assert!(matches!(audio_init(&config), Err(Error::AudioRecord(_))), "{record:?}");
        }
        let mut longest = vec![0x11, 0x90];
        longest.resize(AUDIO_RECORD_SIZE_MAX, 0);
        let config = AudioConfig { record: longest.clone().into(), ..audio() };
        assert!(audio_init(&config).is_ok());
        longest.push(0);
        let config = AudioConfig { record: longest.into(), ..audio() };
        assert_eq!(audio_init(&config), Err(Error::AudioRecordTooLong(AUDIO_RECORD_SIZE_MAX + 1)));
    }
}
