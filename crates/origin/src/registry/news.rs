//! What of a stream's new version is an event: looked at once per version, never per sample.

use std::sync::Arc;

use headwater_packager::{Snapshot, State, Tracks};

use super::{Stream, state_text};
use crate::events::{Events, Kind};

/// Tells what `new` has that `old` had not.
pub(super) fn tell(events: &Events, stream: &Stream, old: &Snapshot, new: &Snapshot) {
    if old.state != new.state {
        let kind = match new.state {
            State::Live => {
                let video = new.tracks.video.as_deref();
                let (width, height) = (video.map(|video| video.width), video.map(|video| video.height));
                Some(Kind::StreamReady { codecs: codecs(&new.tracks), width, height })
            }
            State::Waiting | State::Ended => Some(Kind::StreamIdle { state: state_text(new.state) }),
            State::Starting => None,
        };
        if let Some(kind) = kind {
            events.push(kind, &stream.app, &stream.name);
        }
    }
    if !is_same(&old.tracks, &new.tracks) && !old.tracks.is_empty() {
        let kind = Kind::CodecChange { codecs: codecs(&new.tracks), before: codecs(&old.tracks) };
        events.push(kind, &stream.app, &stream.name);
    }
}

/// Most versions share their tracks with the one before; of those that don't, most are equal.
fn is_same(old: &Tracks, new: &Tracks) -> bool {
    fn same<T: PartialEq>(old: Option<&Arc<T>>, new: Option<&Arc<T>>) -> bool {
        match (old, new) {
            (Some(old), Some(new)) => Arc::ptr_eq(old, new) || old == new,
            (old, new) => old.is_none() && new.is_none(),
        }
    }
    same(old.video.as_ref(), new.video.as_ref()) && same(old.audio.as_ref(), new.audio.as_ref())
}

fn codecs(tracks: &Tracks) -> Vec<String> {
    let video = tracks.video.iter().map(|video| video.codec_string.clone());
    video.chain(tracks.audio.iter().map(|audio| audio.codec_string.clone())).collect()
}
