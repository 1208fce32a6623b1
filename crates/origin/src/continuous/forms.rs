//! What a sample becomes in FLV, RTMP and fragmented MP4, and what stands in front of a viewer's first one.

use bytes::Bytes;
use headwater_cmaf::{AUDIO_TRACK_ID, ChunkSample, ChunkWriter, VIDEO_TRACK_ID, is_disposable, movie_init};
use headwater_flv::{TagKind, body, write_header, write_tag, write_tag_of};
use headwater_media::TrackKind;
use headwater_packager::Tracks;
use headwater_rtmp::{MessageKind, playback};

use super::entry::Entry;

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
    // A sample without bytes is left out.
    let _ = writer.write(&mut out, times.base_media_decode_time, &[chunk]);
    out.into()
}
