//! The video track: H.264 messages to configurations and access units.

use bytes::Bytes;
use headwater_codec::h264::{
    AccessUnitFacts, AnnexB, AvcConfig, LengthSize, NalType, NalUnits, access_unit_facts, is_annex_b, rewrite,
};
use headwater_codec::{self as codec};
use headwater_media::{
    Colour, Event, MediaTime, Sample, Timescale, TrackConfig, TrackId, TrackKind, VideoCodec, VideoConfig,
};

use crate::configuration::Configuration;
use crate::demuxer::bad_tag;
use crate::enhanced::{self, FourCc, Message, Part};
use crate::reader::Reader;
use crate::{Counters, Error, TagKind};

/// Largest composition time offset believed, in milliseconds. Real ones stay below a second; ten seconds is far
/// beyond any reordering, and what is beyond them is garbage.
pub const COMPOSITION_TIME_MAX_MS: i32 = 10_000;

/// Most bytes of NAL units without a picture kept for the next one: parameter sets and SEI have some hundred.
const PENDING_SIZE_MAX: usize = 64 * 1_024;

/// Most new parameter sets looked at in one access unit. Encoders send one or two of each; every one costs a parse.
const NEW_PARAMETER_SETS_MAX: usize = 32;

/// FLV frame types (E.4.3.1).
const KEYFRAME: u8 = 1;
const COMMAND_FRAME: u8 = 5;

/// The fields in front of a coded frame.
#[derive(Debug, Clone, Copy)]
struct FrameHeader {
    timestamp_ms: u32,
    composition_time_ms: i32,
    /// What the container says. A hint: several hardware encoders mark nothing or everything.
    marked_key: bool,
}

/// State of the default video track.
#[derive(Debug, Default)]
pub(crate) struct VideoTrack {
    /// The last record as received: a repetition is recognised before anything is parsed, also when parameter sets
    /// inside the pictures have moved on from it since (some encoders' two sources never agree).
    record: Bytes,
    /// What a decoder holds now, in-band parameter sets included.
    config: Option<AvcConfig>,
    configuration: Configuration,
    /// `config` may differ from what was announced; decided at the next IDR picture.
    changed_in_band: bool,
    /// NAL units of messages without a picture, behind 4-byte lengths.
    pending: Vec<u8>,
    /// A keyframe was dropped: what follows cannot be decoded.
    awaiting_keyframe: bool,
}

impl VideoTrack {
    pub(crate) fn message(
        &mut self,
        timestamp_ms: u32,
        body: Bytes,
        counters: &mut Counters,
        out: &mut Vec<Event>,
    ) -> Result<(), Error> {
        let Some(&header) = body.first() else {
            counters.empty_messages += 1;
            return Ok(());
        };
        let bad = |source| bad_tag(TagKind::Video, source);
        if header & 0x80 != 0 {
            return match enhanced::parse_video(body).map_err(bad)? {
                Message::Media { frame_type, packet_type, parts } => {
                    self.enhanced(timestamp_ms, frame_type, packet_type, parts, counters, out)
                }
                Message::Command => {
                    counters.command_frames += 1;
                    Ok(())
                }
            };
        }
        let (frame_type, codec_id) = (header >> 4, header & 0x0F);
        if frame_type == COMMAND_FRAME {
            counters.command_frames += 1;
            return Ok(());
        }
        if codec_id != 7 {
            let codec = codec_id_name(codec_id).to_owned();
            return Err(Error::UnsupportedCodec { kind: TrackKind::Video, codec });
        }
        let mut reader = Reader::new(body);
        reader.u8("FrameType").map_err(bad)?;
        match reader.u8("AVCPacketType").map_err(bad)? {
            0 => {
                // CompositionTime, meaningless here. A message cut off before it is an empty configuration.
                let record =
                    reader.take(3, "CompositionTime").map(|_| reader.into_rest()).unwrap_or_default();
                self.configure(&record, counters, out)
            }
            1 => {
                let composition_time_ms = signed_24(reader.u24("CompositionTime").map_err(bad)?);
                let marked_key = frame_type == KEYFRAME;
                let header = FrameHeader { timestamp_ms, composition_time_ms, marked_key };
                self.frame(header, reader.into_rest(), counters, out)
            }
            2 => {
                // The end of a sequence, not of the publication; ffmpeg sends it at exit.
                counters.sequence_ends += 1;
                Ok(())
            }
            other => Err(bad(codec::Error::Invalid { field: "AVCPacketType", value: u64::from(other) })),
        }
    }

    fn enhanced(
        &mut self,
        timestamp_ms: u32,
        frame_type: u8,
        packet_type: u8,
        parts: Vec<Part>,
        counters: &mut Counters,
        out: &mut Vec<Event>,
    ) -> Result<(), Error> {
        for part in parts {
            if part.track_id != 0 {
                counters.enhanced_ignored += 1;
                continue;
            }
            if part.four_cc != FourCc::AVC {
                let codec = format!("{} by Enhanced RTMP", part.four_cc);
                return Err(Error::UnsupportedCodec { kind: TrackKind::Video, codec });
            }
            let mut header =
                FrameHeader { timestamp_ms, composition_time_ms: 0, marked_key: frame_type == KEYFRAME };
            match packet_type {
                enhanced::SEQUENCE_START => self.configure(&part.body, counters, out)?,
                enhanced::CODED_FRAMES => {
                    let mut reader = Reader::new(part.body);
                    let field = reader.u24("compositionTimeOffset");
                    header.composition_time_ms =
                        signed_24(field.map_err(|source| bad_tag(TagKind::Video, source))?);
                    self.frame(header, reader.into_rest(), counters, out)?;
                }
                enhanced::CODED_FRAMES_X => self.frame(header, part.body, counters, out)?,
                enhanced::SEQUENCE_END => counters.sequence_ends += 1,
                // Metadata (colour; OBS stamps it 0) and what later versions may add.
                _ => counters.enhanced_ignored += 1,
            }
        }
        Ok(())
    }

    fn configure(
        &mut self,
        record: &Bytes,
        counters: &mut Counters,
        out: &mut Vec<Event>,
    ) -> Result<(), Error> {
        if record.is_empty() {
            counters.empty_configs += 1;
            return Ok(());
        }
        if self.record == record {
            self.configuration.accepted();
            counters.repeated_configs += 1;
            return Ok(());
        }
        match AvcConfig::parse(record) {
            Ok(config) => {
                self.configuration.accepted();
                counters.annex_b += u64::from(config.was_annex_b());
                // A copy: a slice would keep the connection's whole read buffer alive.
                self.record = Bytes::copy_from_slice(record);
                self.pending.clear();
                self.changed_in_band = false;
                let announced = self.announce(&config, out);
                self.config = Some(config);
                counters.repeated_configs += u64::from(!announced);
                Ok(())
            }
            Err(source) => Err(self.configuration.rejected(TrackKind::Video, source, counters)),
        }
    }

    fn frame(
        &mut self,
        header: FrameHeader,
        data: Bytes,
        counters: &mut Counters,
        out: &mut Vec<Event>,
    ) -> Result<(), Error> {
        if data.is_empty() {
            counters.empty_messages += 1;
            return Ok(());
        }
        let Some(config) = self.config.take() else {
            counters.video_before_config += 1;
            return Ok(());
        };
        let taken = self.access_unit(header, data, config, counters, out);
        if let Err(source) = taken {
            // What follows builds on the lost picture: if that was a keyframe, wait for the next.
            self.awaiting_keyframe |= header.marked_key;
            return Err(bad_tag(TagKind::Video, source));
        }
        Ok(())
    }

    /// Takes the configuration and puts it, perhaps changed, back into `self.config` on every path.
    fn access_unit(
        &mut self,
        header: FrameHeader,
        data: Bytes,
        config: AvcConfig,
        counters: &mut Counters,
        out: &mut Vec<Event>,
    ) -> Result<(), codec::Error> {
        let config = self.config.insert(config);
        let (mut data, mut length_size, mut facts) = examine(data, config, counters)?;
        counters.empty_nal_units += u64::try_from(facts.empty_nal_units).unwrap_or(u64::MAX);
        if !facts.has_vcl {
            counters.without_picture += 1;
            let room = PENDING_SIZE_MAX.saturating_sub(self.pending.len());
            if facts.kept.len() <= room {
                rewrite(&data, length_size, config, &mut self.pending)?;
            }
            return Ok(());
        }
        if self.awaiting_keyframe && !facts.idr && !header.marked_key {
            counters.video_awaiting_keyframe += 1;
            return Ok(());
        }
        self.awaiting_keyframe = false;
        if !self.pending.is_empty() {
            let mut joined = std::mem::take(&mut self.pending);
            rewrite(&data, length_size, config, &mut joined)?;
            (data, length_size) = (joined.into(), LengthSize::Four);
            facts = access_unit_facts(&data, length_size, config)?;
        }
        if facts.new_parameter_sets {
            self.changed_in_band |= take_parameter_sets(&data, length_size, config, counters)?;
        }
        if facts.idr && self.changed_in_band {
            self.changed_in_band = false;
            // They are part of the configuration now: look again which NAL units the sample keeps.
            facts = access_unit_facts(&data, length_size, config)?;
            let config = config.clone();
            counters.in_band_configs += u64::from(self.announce(&config, out));
        }
        counters.recovery_points += u64::from(facts.recovery_point);
        let sample = Sample {
            track: TrackId::VIDEO,
            dts: MediaTime::new(i64::from(header.timestamp_ms), Timescale::MILLIS),
            cts_offset: clamp_composition_time(header.composition_time_ms, counters),
            sync: facts.idr,
            data: self.sample_data(&data, length_size, &facts)?,
        };
        counters.video_samples += 1;
        out.push(Event::Sample(sample));
        Ok(())
    }

    /// A slice where nothing inside needs to go, one copy otherwise.
    fn sample_data(
        &self,
        data: &Bytes,
        length_size: LengthSize,
        facts: &AccessUnitFacts,
    ) -> Result<Bytes, codec::Error> {
        if length_size == LengthSize::Four && facts.contiguous && facts.kept.end <= data.len() {
            return Ok(data.slice(facts.kept.clone()));
        }
        let Some(config) = &self.config else { return Ok(Bytes::new()) };
        let growth = LengthSize::Four.bytes().saturating_sub(length_size.bytes());
        let mut rewritten =
            Vec::with_capacity(data.len().saturating_add(facts.nal_units.saturating_mul(growth)));
        rewrite(data, length_size, config, &mut rewritten)?;
        Ok(rewritten.into())
    }

    /// False when nothing changed.
    fn announce(&mut self, config: &AvcConfig, out: &mut Vec<Event>) -> bool {
        self.configuration.announce(TrackId::VIDEO, TrackConfig::Video(video_config(config)), out)
    }
}

/// The facts of an access unit, and the form of the data they were found in.
fn examine(
    data: Bytes,
    config: &AvcConfig,
    counters: &mut Counters,
) -> Result<(Bytes, LengthSize, AccessUnitFacts), codec::Error> {
    let length_size = config.length_size();
    match access_unit_facts(&data, length_size, config) {
        Ok(facts) => Ok((data, length_size, facts)),
        // An encoder that takes start codes for a record takes them for length fields as well.
        Err(_) if config.was_annex_b() && is_annex_b(&data) => {
            counters.annex_b += 1;
            let mut converted = Vec::with_capacity(data.len().saturating_add(4));
            for nal in AnnexB::new(&data) {
                converted.extend_from_slice(&u32::try_from(nal.len()).unwrap_or(u32::MAX).to_be_bytes());
                converted.extend_from_slice(nal);
            }
            let facts = access_unit_facts(&converted, LengthSize::Four, config)?;
            Ok((converted.into(), LengthSize::Four, facts))
        }
        Err(error) => Err(error),
    }
}

/// Brings the configuration up to date with the parameter sets of an access unit. True when it changed.
fn take_parameter_sets(
    data: &[u8],
    length_size: LengthSize,
    config: &mut AvcConfig,
    counters: &mut Counters,
) -> Result<bool, codec::Error> {
    let mut changed = false;
    let mut count: usize = 0;
    for nal in NalUnits::new(data, length_size) {
        let nal = nal?;
        if !NalType::of(nal).is_some_and(NalType::is_parameter_set) || config.contains(nal) {
            continue;
        }
        count = count.saturating_add(1);
        if count > NEW_PARAMETER_SETS_MAX {
            let what = "new parameter sets in an access unit";
            return Err(codec::Error::Limit { what, count, max: NEW_PARAMETER_SETS_MAX });
        }
        match config.with_parameter_set(nal) {
            Ok(with) => {
                *config = with;
                changed = true;
            }
            // Left in the sample: whoever decodes it may know better.
            Err(_) => counters.bad_configs += 1,
        }
    }
    Ok(changed)
}

fn video_config(config: &AvcConfig) -> VideoConfig {
    let sps = config.first_sps();
    VideoConfig {
        codec: VideoCodec::H264,
        record: config.to_record(),
        codec_string: config.codec_string(),
        width: sps.width,
        height: sps.height,
        sample_aspect_ratio: sps.sample_aspect_ratio,
        frame_rate: sps.frame_rate(),
        colour: sps.colour.map(|colour| Colour {
            primaries: colour.primaries,
            transfer: colour.transfer,
            matrix: colour.matrix,
            full_range: colour.full_range,
        }),
        reorder_frames_max: sps.reorder_frames_max,
    }
}

/// CompositionTime is SI24: negative values are real (encoders that shift their decode times).
fn signed_24(value: u32) -> i32 {
    (value << 8).cast_signed() >> 8
}

fn clamp_composition_time(ms: i32, counters: &mut Counters) -> i32 {
    if (-COMPOSITION_TIME_MAX_MS..=COMPOSITION_TIME_MAX_MS).contains(&ms) {
        return ms;
    }
    counters.composition_times_clamped += 1;
    0
}

/// CodecID (FLV E.4.3.1; 12 and 13 as Chinese vendors used them before Enhanced RTMP).
fn codec_id_name(codec_id: u8) -> &'static str {
    match codec_id {
        2 => "Sorenson H.263",
        3 => "Screen video",
        4 => "VP6",
        5 => "VP6 with alpha",
        6 => "Screen video 2",
        8 => "H.263",
        9 => "MPEG-4 part 2",
        12 => "HEVC (legacy codec id 12)",
        13 => "AV1 (legacy codec id 13)",
        _ => "unknown",
    }
}
