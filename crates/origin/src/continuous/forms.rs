//! What a sample becomes in FLV, RTMP and fragmented MP4, and what stands in front of a viewer's first one.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use headwater_cmaf::{
    AUDIO_TRACK_ID, ChunkSample, ChunkWriter, EventMessage, VIDEO_TRACK_ID, is_disposable, movie_init,
};
use headwater_flv::{TagKind, body, write_header, write_tag, write_tag_of};
use headwater_media::{Timescale, TrackKind};
use headwater_packager::{SCHEME_ID3, SCHEME_SPLICE, Said, Tracks};
use headwater_rtmp::amf0::{self, Value};
use headwater_rtmp::{MessageKind, playback};

use super::entry::{Entry, TimedMark};

/// FLV and RTMP count milliseconds modulo 2^32.
pub(super) fn stamp(ms: i64) -> u32 {
    // Truncation to 32 bits is the point.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "arithmetic modulo 2^32")]
    let stamp = ms as u32;
    stamp
}

/// Messages that tell a player of tracks: metadata, then a configuration for each. Configurations have the time of what follows
/// (rtmp.md 8.2), metadata have none: with another time than 0 ffmpeg takes them for a track of text.
fn configurations(tracks: &Tracks, stamp_ms: u32) -> Vec<(TagKind, u32, Vec<u8>)> {
    let (video, audio) = (tracks.video.as_deref(), tracks.audio.as_deref());
    let mut messages = vec![(TagKind::Data, 0, body::metadata(video, audio))];
    messages.extend(video.map(|video| (TagKind::Video, stamp_ms, body::video_configuration(video))));
    let audio = audio.and_then(body::audio_configuration);
    messages.extend(audio.map(|body| (TagKind::Audio, stamp_ms, body)));
    messages
}

/// The front of an FLV stream, or of its going on with other tracks.
pub(super) fn flv_opening(tracks: &Tracks, is_first: bool, stamp_ms: u32) -> Bytes {
    let mut out = Vec::with_capacity(1_024);
    if is_first {
        write_header(&mut out, tracks.audio.is_some(), tracks.video.is_some());
    }
    for (kind, stamp_ms, body) in configurations(tracks, stamp_ms) {
        // Records are held to 64 KiB where they are read; a tag holds 16 MiB.
        let _ = write_tag(&mut out, kind, stamp_ms, &body);
    }
    out.into()
}

/// A sample as FLV tag.
pub(super) fn flv(entry: &Entry) -> Bytes {
    let mut out = Vec::with_capacity(entry.sample.data.len() + 32);
    let stamp_ms = stamp(entry.times.stamp_ms);
    for mark in entry.marks() {
        let _ = write_tag(&mut out, TagKind::Data, stamp_ms, &data_message(mark));
    }
    // What no tag can hold is left out.
    let _ =
        with_front(entry, |kind, front| write_tag_of(&mut out, kind, stamp_ms, &[front, &entry.sample.data]));
    out.into()
}

/// As [`flv_opening`], as RTMP messages.
pub(super) fn rtmp_opening(tracks: &Tracks, stream_id: u32, stamp_ms: u32) -> Bytes {
    let messages = configurations(tracks, stamp_ms)
        .into_iter()
        .map(|(kind, stamp_ms, body)| playback::message(stream_id, message_kind(kind), stamp_ms, &[&body]));
    messages.collect::<Vec<Bytes>>().concat().into()
}

/// What is said in front of a sample as RTMP messages.
pub(super) fn rtmp_marks(entry: &Entry, stream_id: u32) -> Vec<Bytes> {
    let stamp_ms = stamp(entry.times.stamp_ms);
    let message = |mark| playback::message(stream_id, MessageKind::Data, stamp_ms, &[&data_message(mark)]);
    entry.marks().iter().map(message).collect()
}

/// A mark as data message, such as this server takes from encoders too: splice information as Adobe Primetime writes it, a tag as
/// cue point (FLV has none of its own for either).
fn data_message(mark: &TimedMark) -> Vec<u8> {
    let time = Value::Number(mark.at.max(0) as f64 / 90_000.0);
    let (name, value) = match &mark.said {
        Said::Splice(info) => {
            let section = Value::string(STANDARD.encode(info.section()));
            let id = info.event_id().map_or(Value::Null, |id| Value::string(id.to_string()));
            let seconds = info.duration().map_or(0.0, |ticks| ticks as f64 / 90_000.0);
            let kind = Value::string("scte35");
            let seconds = Value::Number(seconds);
            let properties =
                [("cue", section), ("type", kind), ("id", id), ("time", time), ("duration", seconds)];
            ("onAdCue", Value::object(properties))
        }
        Said::Id3(tag) => {
            let tag = Value::object([("tag", Value::string(STANDARD.encode(tag)))]);
            let properties = [
                ("name", Value::string("id3")),
                ("type", Value::string("event")),
                ("time", time),
                ("parameters", tag),
            ];
            ("onCuePoint", Value::object(properties))
        }
    };
    let mut body = Vec::new();
    amf0::encode(&Value::string(name), &mut body);
    amf0::encode(&value, &mut body);
    body
}

/// A sample as RTMP message, on the message stream that most players have.
pub(super) fn rtmp(entry: &Entry) -> Bytes {
    let stamp_ms = stamp(entry.times.stamp_ms);
    with_front(entry, |kind, front| {
        playback::message(
            playback::STREAM_ID_USUAL,
            message_kind(kind),
            stamp_ms,
            &[front, &entry.sample.data],
        )
    })
}

/// Hands on what stands in front of a sample in a tag's body.
fn with_front<T>(entry: &Entry, write: impl FnOnce(TagKind, &[u8]) -> T) -> T {
    match entry.sample.track.kind {
        TrackKind::Video => {
            write(TagKind::Video, &body::video_front(entry.sample.sync, entry.times.composition_ms))
        }
        TrackKind::Audio => {
            let front = entry.setup.tracks.audio.as_deref().map_or(&[][..], body::audio_front);
            write(TagKind::Audio, front)
        }
    }
}

fn message_kind(kind: TagKind) -> MessageKind {
    match kind {
        TagKind::Audio => MessageKind::Audio,
        TagKind::Video => MessageKind::Video,
        TagKind::Data => MessageKind::Data,
    }
}

/// The front of a fragmented MP4; `None` when it can't carry the tracks.
pub(super) fn mp4_opening(tracks: &Tracks) -> Option<Bytes> {
    movie_init(tracks.video.as_deref(), tracks.audio.as_deref()).ok().map(|init| init.bytes)
}

/// A sample as a fragment of its own: the least delay there is.
pub(super) fn mp4(entry: &Entry) -> Bytes {
    let (sample, times) = (&entry.sample, &entry.times);
    let is_video = sample.track.kind == TrackKind::Video;
    let mut writer = ChunkWriter::for_track(if is_video { VIDEO_TRACK_ID } else { AUDIO_TRACK_ID });
    // Counts fragments from 1, modulo 2^32.
    writer.set_sequence_number(stamp(i64::try_from(entry.number).unwrap_or(0).wrapping_add(1)));
    let chunk = ChunkSample {
        duration: times.duration,
        composition_time_offset: times.composition_time_offset,
        sync: sample.sync,
        disposable: is_video && is_disposable(&sample.data),
        data: &sample.data,
    };
    let mut out = Vec::new();
    for mark in entry.marks() {
        let (scheme, duration, data) = match &mark.said {
            Said::Id3(tag) => (SCHEME_ID3, None, tag.to_vec()),
            Said::Splice(info) => (SCHEME_SPLICE, info.duration(), info.timed_at(mark.at)),
        };
        EventMessage {
            scheme,
            timescale: Timescale::MPEG.hz(),
            presentation_time: mark.at.max(0).unsigned_abs(),
            duration: duration.and_then(|ticks| u32::try_from(ticks).ok()),
            id: mark.id,
            data: &data,
        }
        .write(&mut out);
    }
    // A sample without bytes is left out.
    let _ = writer.write(&mut out, times.base_media_decode_time, &[chunk]);
    out.into()
}
