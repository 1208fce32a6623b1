//! What is inserted into a running stream.

use std::time::Duration;

use bytes::Bytes;
use headwater_codec::scte35::SpliceInfo;
use headwater_media::{MediaTime, Timescale};

use super::{Packager, Session};
use crate::cmaf::CmafPackaging;
use crate::metadata::{self, Cue, CuePlace, CueRefusal, SCHEME_ID3, SCHEME_SPLICE};
use crate::placed::Said;

impl Packager {
    /// Says something of the moment that is `ahead` of the newest media.
    ///
    /// An ID3 tag is written when its moment comes. Splice information is sent at once, so that those who splice can prepare; the
    /// first keyframe at or after its moment begins a segment. Playlists show ranges with their next version.
    ///
    /// # Errors
    /// [`CueRefusal`]; nothing was inserted then.
    pub fn insert(&mut self, cue: Cue, ahead: Duration) -> Result<CuePlace, CueRefusal> {
        let place = self.try_insert(cue, ahead);
        let counter = if place.is_ok() { &mut self.counters.cues } else { &mut self.counters.cues_refused };
        *counter += 1;
        place
    }

    fn try_insert(&mut self, cue: Cue, ahead: Duration) -> Result<CuePlace, CueRefusal> {
        let now = match self.session {
            Session::Running => self.timeline.end().ok_or(CueRefusal::NotLive)?.ticks(),
            Session::None | Session::Starting(_) => return Err(CueRefusal::NotLive),
        };
        if !self.timed_metadata && !matches!(cue, Cue::Range(_)) {
            return Err(CueRefusal::NotAnnounced);
        }
        let ahead = i64::try_from(ahead.as_millis()).unwrap_or(i64::MAX).saturating_mul(90);
        let at = now.saturating_add(ahead);
        let date = self.wall.wall(MediaTime::new(at, Timescale::MPEG));
        match cue {
            Cue::Id3(tag) if ahead > 0 => self.metadata.wait(at, tag)?,
            Cue::Id3(tag) => self.write_id3(at, &tag)?,
            Cue::Splice(info) => self.write_splice(&info, at)?,
            Cue::Range(range) => self.metadata.list(range, at, date)?,
        }
        Ok(metadata::place(at, date))
    }

    fn write_id3(&mut self, at: i64, tag: &Bytes) -> Result<(), CueRefusal> {
        if let Some(cmaf) = &mut self.cmaf {
            let id = self.metadata.next_message_id(at);
            cmaf.message(SCHEME_ID3, (at, None), id, tag)?;
        }
        if let Some(ts) = &mut self.ts {
            ts.write_id3(at, tag);
        }
        self.placed.mark(MediaTime::new(at, Timescale::MPEG), || Said::Id3(tag.clone()));
        Ok(())
    }

    fn write_splice(&mut self, info: &SpliceInfo, at: i64) -> Result<(), CueRefusal> {
        if !self.metadata.has_room() {
            return Err(CueRefusal::TooMuch);
        }
        let date = self.wall.wall(MediaTime::new(at, Timescale::MPEG));
        let section = info.timed_at(at);
        if let Some(cmaf) = &mut self.cmaf {
            let id = self.metadata.next_message_id(at);
            cmaf.message(SCHEME_SPLICE, (at, info.duration()), id, &section)?;
        }
        self.metadata.splice(info, at, date)?;
        if let Some(ts) = &mut self.ts {
            ts.write_splice_info(&section);
        }
        self.placed.mark(MediaTime::new(at, Timescale::MPEG), || Said::Splice(info.clone()));
        self.cutter.want(at);
        Ok(())
    }

    /// Tags whose moment has come with media of `now` (90 kHz ticks). A full part has no room for more of them: they are dropped.
    pub(super) fn write_due(&mut self, now: i64) {
        while let Some((at, tag)) = self.metadata.due(now) {
            if self.write_id3(at, &tag).is_err() {
                self.counters.unwritable += 1;
            }
        }
    }

    /// Ranges that no playlist shows a date of leave.
    pub(super) fn slide_metadata(&mut self) {
        let ts = self.ts.as_ref().and_then(|ts| ts.window().first_listed()).map(|segment| segment.start);
        let cmaf = self.cmaf.as_ref().and_then(CmafPackaging::first_listed_start);
        let starts = ts.into_iter().chain(cmaf).map(|start| start.rescale(Timescale::MPEG).ticks());
        if let Some(first) = starts.min() {
            self.metadata.slide(first);
        }
    }
}
