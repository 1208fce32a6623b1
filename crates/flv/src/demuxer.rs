//! One publication's demultiplexer: the messages of its default tracks to events.

use bytes::Bytes;
use headwater_codec as codec;
use headwater_media::Event;

use crate::audio::AudioTrack;
use crate::video::VideoTrack;
use crate::{Counters, Error, TagKind, data};

/// Turns the bodies of FLV tags, which are those of RTMP messages, into events.
///
/// Timestamps are milliseconds modulo 2^32 and are passed on as they are; unwrapping them is the timeline's job.
/// Events are appended to `out`, which the caller owns and reuses. A method that returns an error may have appended
/// events before it. Only errors that [`Error::is_fatal`] end the publication.
#[derive(Debug, Default)]
pub struct Demuxer {
    audio: AudioTrack,
    video: VideoTrack,
    counters: Counters,
}

impl Demuxer {
    /// A demultiplexer that has seen nothing.
    pub fn new() -> Demuxer {
        Demuxer::default()
    }

    /// Takes an audio message (type 8). A message of several frames yields several samples.
    ///
    /// # Errors
    /// Any [`Error`]; see [`Error::is_fatal`].
    pub fn audio(&mut self, timestamp_ms: u32, body: Bytes, out: &mut Vec<Event>) -> Result<(), Error> {
        let done = self.audio.message(timestamp_ms, body, &mut self.counters, out);
        self.count(done)
    }

    /// Takes a video message (type 9).
    ///
    /// # Errors
    /// Any [`Error`]; see [`Error::is_fatal`].
    pub fn video(&mut self, timestamp_ms: u32, body: Bytes, out: &mut Vec<Event>) -> Result<(), Error> {
        let done = self.video.message(timestamp_ms, body, &mut self.counters, out);
        self.count(done)
    }

    /// Takes a data message (type 18, or 15 in AMF3 form). `@setDataFrame` is taken off, `@clearDataFrame` yields
    /// nothing.
    ///
    /// # Errors
    /// [`Error::BadTag`] when it does not begin with the name of the message.
    pub fn data(&mut self, timestamp_ms: u32, body: Bytes, out: &mut Vec<Event>) -> Result<(), Error> {
        if body.is_empty() {
            self.counters.empty_messages += 1;
            return Ok(());
        }
        let metadata = data::parse(timestamp_ms, body).map_err(|source| bad_tag(TagKind::Data, source));
        if let Ok(Some(metadata)) = metadata {
            self.counters.data_messages += 1;
            out.push(Event::Data(metadata));
            return Ok(());
        }
        self.count(metadata.map(|_| ()))
    }

    /// Takes a tag of an FLV file.
    ///
    /// # Errors
    /// As [`Demuxer::audio`], [`Demuxer::video`] and [`Demuxer::data`].
    pub fn tag(&mut self, tag: crate::Tag, out: &mut Vec<Event>) -> Result<(), Error> {
        match tag.kind {
            TagKind::Audio => self.audio(tag.timestamp_ms, tag.body, out),
            TagKind::Video => self.video(tag.timestamp_ms, tag.body, out),
            TagKind::Data => self.data(tag.timestamp_ms, tag.body, out),
        }
    }

    /// What was repaired, ignored and dropped so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    fn count(&mut self, done: Result<(), Error>) -> Result<(), Error> {
        if matches!(done, Err(Error::BadTag { .. })) {
            self.counters.bad_tags += 1;
        }
        done
    }
}

pub(crate) fn bad_tag(kind: TagKind, source: codec::Error) -> Error {
    Error::BadTag { kind, source }
}
