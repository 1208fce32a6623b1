//! Timed metadata: what is said about a moment of the stream, in the words of every packaging.
//!
//! An ID3 tag goes into MPEG-TS as a PES packet and into CMAF as an event message; splice information (SCTE 35) as a section, as an event
//! message, and into the playlists of HLS as EXT-X-DATERANGE; a range of dates into the playlists alone. All of it is
//! media from then on: it is where it was put for everybody, and leaves with its segment.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use headwater_codec::scte35::{Splice, SpliceInfo};
use headwater_manifest::hls::{Attribute, AttributeName, DateRange, QuotedString, Splices};
use headwater_media::{MediaTime, Timescale, WallTime};
use serde::{Deserialize, Serialize};

/// Schemes of event messages: ID3 (AOM's "Carriage of ID3 Timed Metadata in CMAF") and binary splice information (SCTE 214-3).
pub const SCHEME_ID3: &str = "https://aomedia.org/emsg/ID3";
/// See [`SCHEME_ID3`].
pub const SCHEME_SPLICE: &str = "urn:scte:scte35:2013:bin";

/// What the carrying track of a Period announces.
pub(crate) const SCHEMES: [&str; 2] = [SCHEME_ID3, SCHEME_SPLICE];

/// Ranges that playlists list at a time, and tags that wait for their time. Every viewer's playlist carries the ranges.
const RANGES_MAX: usize = 64;
const WAITING_MAX: usize = 64;

/// Event messages that wait for their chunk.
pub(crate) const MESSAGES_BYTES_MAX: usize = 64 << 10;

/// An end that nobody has announced: the range stays.
const OPEN: i64 = i64::MAX;

/// Something to say about a moment.
#[derive(Debug, Clone, PartialEq)]
pub enum Cue {
    /// A whole ID3v2 tag.
    Id3(Bytes),
    /// Splice information.
    Splice(SpliceInfo),
    /// Only for playlists of HLS.
    Range(RangeCue),
}

/// A range of dates.
#[derive(Debug, Clone, PartialEq)]
pub struct RangeCue {
    /// ID: another one for each range.
    pub id: QuotedString,
    /// CLASS.
    pub class: Option<QuotedString>,
    /// DURATION; `None` where it is not known, which keeps the range listed until the stream ends.
    pub duration: Option<Duration>,
    /// Attributes that begin with `X-`.
    pub attributes: Vec<(AttributeName, Attribute)>,
}

/// Where a cue was put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CuePlace {
    /// On the media clock, 90 kHz.
    pub media_time: MediaTime,
    /// EXT-X-PROGRAM-DATE-TIME of that moment.
    pub date: WallTime,
}

/// Why a cue can't be put anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CueRefusal {
    /// Nothing is being published, so there is no moment to speak of.
    #[error("nothing is being published")]
    NotLive,
    /// The stream's tracks were announced without any for it.
    #[error("the stream was not announced with timed metadata")]
    NotAnnounced,
    /// Too much of it waits or is listed.
    #[error("more timed metadata than a stream carries at a time")]
    TooMuch,
    /// A range of that ID is listed.
    #[error("a range of this id is listed already")]
    IdTaken,
}

/// A listed range and where it lies.
#[derive(Debug, Clone)]
struct Listed {
    range: DateRange,
    /// 90 kHz ticks.
    start: i64,
    /// 90 kHz ticks; [`OPEN`] where it is not known.
    end: i64,
    /// Of splice information.
    event_id: Option<u32>,
    line: Arc<[u8]>,
}

impl Listed {
    fn new(range: DateRange, start: i64, end: i64, event_id: Option<u32>) -> Listed {
        let line = range.line().into();
        Listed { range, start, end, event_id, line }
    }
}

/// A listed range as it is kept over a restart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeptRange {
    id: String,
    class: Option<String>,
    date_ms: i64,
    duration: Option<Duration>,
    planned_duration: Option<Duration>,
    attributes: Vec<(String, KeptAttribute)>,
    splices: [Option<Vec<u8>>; 3],
    start: i64,
    end: i64,
    event_id: Option<u32>,
}

/// The value of an author's attribute.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum KeptAttribute {
    Text(String),
    /// The bits of a 64-bit floating-point number: what is written is what was.
    Number(u64),
}

impl KeptRange {
    fn of(listed: &Listed) -> KeptRange {
        let DateRange { id, class, start, duration, planned_duration, attributes, splices } = &listed.range;
        let attribute = |(name, value): &(AttributeName, Attribute)| {
            let value = match value {
                Attribute::Text(text) => KeptAttribute::Text(text.as_str().to_owned()),
                Attribute::Number(number) => KeptAttribute::Number(number.to_bits()),
            };
            (name.as_str().to_owned(), value)
        };
        KeptRange {
            id: id.as_str().to_owned(),
            class: class.as_ref().map(|class| class.as_str().to_owned()),
            date_ms: start.unix_millis(),
            duration: *duration,
            planned_duration: *planned_duration,
            attributes: attributes.iter().map(attribute).collect(),
            splices: [&splices.command, &splices.out, &splices.back].map(Clone::clone),
            start: listed.start,
            end: listed.end,
            event_id: listed.event_id,
        }
    }

    /// `None` for what no range says.
    fn listed(self) -> Option<Listed> {
        let attribute = |(name, value)| {
            let value = match value {
                KeptAttribute::Text(text) => Attribute::Text(QuotedString::new(text).ok()?),
                KeptAttribute::Number(bits) => {
                    Attribute::Number(Some(f64::from_bits(bits)).filter(|number| number.is_finite())?)
                }
            };
            Some((AttributeName::new(name).ok()?, value))
        };
        let [command, out, back] = self.splices;
        let range = DateRange {
            id: QuotedString::new(self.id).ok()?,
            class: self.class.map(QuotedString::new).transpose().ok()?,
            start: WallTime::from_unix_millis(self.date_ms),
            duration: self.duration,
            planned_duration: self.planned_duration,
            attributes: self.attributes.into_iter().map(attribute).collect::<Option<_>>()?,
            splices: Splices { command, out, back },
        };
        Some(Listed::new(range, self.start, self.end, self.event_id))
    }
}

/// A stream's ranges, and the tags whose time has not come.
#[derive(Debug, Default)]
pub(crate) struct Metadata {
    ranges: Vec<Listed>,
    /// 90 kHz ticks, in the order in which they came.
    waiting: Vec<(i64, Bytes)>,
    /// The `id` of the newest event message.
    message_id: u32,
    lines: Option<Arc<[Arc<[u8]>]>>,
}

impl Metadata {
    /// A tag's time has not come.
    pub(crate) fn wait(&mut self, at: i64, tag: Bytes) -> Result<(), CueRefusal> {
        if self.waiting.len() >= WAITING_MAX {
            return Err(CueRefusal::TooMuch);
        }
        self.waiting.push((at, tag));
        Ok(())
    }

    /// True when [`Metadata::due`] has something to look at.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Takes a tag whose time is not after `now`, the oldest first.
    pub(crate) fn due(&mut self, now: i64) -> Option<(i64, Bytes)> {
        let index = self.waiting.iter().position(|(at, _)| *at <= now)?;
        Some(self.waiting.remove(index))
    }

    /// The session is over: what waits has no time any more.
    pub(crate) fn forget_waiting(&mut self) {
        self.waiting.clear();
    }

    /// The `id` of the next event message. It rises over restarts, as the media clock does: players drop what repeats one.
    pub(crate) fn next_message_id(&mut self, at: i64) -> u32 {
        let tenths = u32::try_from((at.max(0) / 9_000).rem_euclid(1 << 32)).unwrap_or(0);
        self.message_id = self.message_id.wrapping_add(1).max(tenths);
        self.message_id
    }

    /// Another range can be listed.
    pub(crate) fn has_room(&self) -> bool {
        self.ranges.len() < RANGES_MAX
    }

    /// What is published next is another programme.
    pub(crate) fn forget_ranges(&mut self) {
        self.ranges.clear();
        self.lines = None;
    }

    /// The listed ranges, for a restart.
    pub(crate) fn keep(&self) -> Vec<KeptRange> {
        self.ranges.iter().map(KeptRange::of).collect()
    }

    /// Lists the ranges of an earlier process. False where there is one that can't be.
    pub(crate) fn restore(&mut self, ranges: Vec<KeptRange>) -> bool {
        let listed: Option<Vec<Listed>> = ranges.into_iter().map(KeptRange::listed).collect();
        let Some(listed) = listed.filter(|listed| listed.len() <= RANGES_MAX) else { return false };
        self.lines = None;
        self.ranges = listed;
        true
    }

    /// Lists a range of dates.
    pub(crate) fn list(&mut self, cue: RangeCue, at: i64, date: WallTime) -> Result<(), CueRefusal> {
        if self.ranges.iter().any(|listed| listed.range.id == cue.id) {
            return Err(CueRefusal::IdTaken);
        }
        let RangeCue { id, class, duration, attributes } = cue;
        let end = duration.map_or(OPEN, |duration| at.saturating_add(ticks(duration)));
        let splices = Splices::default();
        let range =
            DateRange { id, class, start: date, duration, planned_duration: None, attributes, splices };
        self.push(Listed::new(range, at, end, None))
    }

    /// Lists splice information: a break that begins, or the end of one that is listed.
    pub(crate) fn splice(&mut self, info: &SpliceInfo, at: i64, date: WallTime) -> Result<(), CueRefusal> {
        let section = info.timed_at(at);
        let splice = info.splice();
        if splice == Splice::In
            && let Some(listed) = self.ranges.iter_mut().rev().find(|listed| {
                let splices = &listed.range.splices;
                listed.event_id == info.event_id() && splices.out.is_some() && splices.back.is_none()
            })
        {
            // One tag says both (8216bis 4.4.5.1.1): where it ended is known now.
            let length = at.saturating_sub(listed.start).max(0);
            let mut range = listed.range.clone();
            range.duration = Some(Duration::from_millis(length.unsigned_abs() / 90));
            range.splices.back = Some(section);
            *listed = Listed::new(range, listed.start, at.max(listed.start), listed.event_id);
            self.lines = None;
            return Ok(());
        }
        let planned = info.duration().filter(|_| splice == Splice::Out);
        let planned = planned.map(|ticks| Duration::from_millis(ticks / 90));
        let mut splices = Splices::default();
        let place = match splice {
            Splice::Out => &mut splices.out,
            Splice::In => &mut splices.back,
            Splice::Other => &mut splices.command,
        };
        *place = Some(section);
        let end = match (splice, planned) {
            (Splice::Out, Some(planned)) => at.saturating_add(ticks(planned)),
            // Until the one that ends it comes.
            (Splice::Out, None) => OPEN,
            (Splice::In | Splice::Other, _) => at,
        };
        // Event ids come back; moments don't.
        let name = match info.event_id() {
            Some(event_id) => format!("splice-{event_id}-{at}"),
            None => format!("splice-{at}"),
        };
        let Ok(mut id) = QuotedString::new(name.clone()) else { return Err(CueRefusal::TooMuch) };
        for count in 2.. {
            if !self.ranges.iter().any(|listed| listed.range.id == id) {
                break;
            }
            let Ok(another) = QuotedString::new(format!("{name}-{count}")) else {
                return Err(CueRefusal::TooMuch);
            };
            id = another;
        }
        let range = DateRange {
            id,
            class: None,
            start: date,
            duration: None,
            planned_duration: planned,
            attributes: Vec::new(),
            splices,
        };
        self.push(Listed::new(range, at, end, info.event_id()))
    }

    fn push(&mut self, listed: Listed) -> Result<(), CueRefusal> {
        if !self.has_room() {
            return Err(CueRefusal::TooMuch);
        }
        self.ranges.push(listed);
        self.lines = None;
        Ok(())
    }

    /// What ended before the oldest listed segment, which begins at `first` (90 kHz ticks), leaves: while any of its dates is listed a
    /// range stays (8216bis 6.2.1).
    pub(crate) fn slide(&mut self, first: i64) {
        let before = self.ranges.len();
        self.ranges.retain(|listed| listed.end >= first);
        if self.ranges.len() != before {
            self.lines = None;
        }
    }

    /// The tags, for playlists.
    pub(crate) fn lines(&mut self) -> Arc<[Arc<[u8]>]> {
        let ranges = &self.ranges;
        Arc::clone(
            self.lines.get_or_insert_with(|| ranges.iter().map(|listed| Arc::clone(&listed.line)).collect()),
        )
    }
}

fn ticks(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX).saturating_mul(90)
}

/// Where `at` (90 kHz ticks) is.
pub(crate) fn place(at: i64, date: WallTime) -> CuePlace {
    CuePlace { media_time: MediaTime::new(at, Timescale::MPEG), date }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(seconds: i64) -> WallTime {
        WallTime::from_unix_millis(1_769_860_800_000 + seconds * 1_000)
    }

    fn lines(metadata: &mut Metadata) -> Vec<String> {
        metadata.lines().iter().map(|line| String::from_utf8(line.to_vec()).unwrap()).collect()
    }

    fn range(id: &str, seconds: Option<u64>) -> RangeCue {
        let duration = seconds.map(Duration::from_secs);
        RangeCue { id: QuotedString::new(id).unwrap(), class: None, duration, attributes: Vec::new() }
    }

    #[test]
    fn a_break_and_its_end_are_one_tag() {
        let mut metadata = Metadata::default();
        let out = SpliceInfo::insert(9, true, Some(30 * 90_000));
        metadata.splice(&out, 90_000, date(1)).unwrap();
        let begun = lines(&mut metadata);
        assert_eq!(begun.len(), 1);
        assert!(
            begun[0].starts_with(
                "#EXT-X-DATERANGE:ID=\"splice-9-90000\",START-DATE=\"2026-01-31T12:00:01.000Z\",\
                 PLANNED-DURATION=30.000,SCTE35-OUT=0xFC30"
            ),
            "{begun:?}"
        );
        // The end of another break is another tag.
        metadata.splice(&SpliceInfo::insert(8, false, None), 180_000, date(2)).unwrap();
        metadata.splice(&SpliceInfo::insert(9, false, None), 21 * 90_000, date(21)).unwrap();
        let ended = lines(&mut metadata);
        assert_eq!(ended.len(), 2);
        assert!(ended[0].contains("DURATION=20.000,PLANNED-DURATION=30.000,SCTE35-OUT=0xFC"), "{ended:?}");
        assert!(ended[0].contains(",SCTE35-IN=0xFC"), "{ended:?}");
        assert!(!ended[1].contains("OUT") && ended[1].contains("SCTE35-IN=0xFC"), "{ended:?}");
        // A second end is none of this break's.
        metadata.splice(&SpliceInfo::insert(9, false, None), 22 * 90_000, date(22)).unwrap();
        assert_eq!(lines(&mut metadata).len(), 3);
    }

    #[test]
    fn ranges_leave_when_their_last_date_does() {
        let mut metadata = Metadata::default();
        metadata.list(range("a", Some(4)), 90_000, date(1)).unwrap();
        metadata.list(range("open", None), 90_000, date(1)).unwrap();
        assert_eq!(metadata.list(range("a", None), 95_000, date(1)), Err(CueRefusal::IdTaken));
        metadata.slide(5 * 90_000);
        assert_eq!(lines(&mut metadata).len(), 2);
        metadata.slide(5 * 90_000 + 1);
        assert_eq!(lines(&mut metadata).len(), 1);
        for number in 1..RANGES_MAX {
            metadata.list(range(&number.to_string(), None), 0, date(0)).unwrap();
        }
        assert_eq!(metadata.list(range("more", None), 0, date(0)), Err(CueRefusal::TooMuch));
        assert_eq!(metadata.splice(&SpliceInfo::insert(1, true, None), 0, date(0)), Err(CueRefusal::TooMuch));
    }

    #[test]
    fn tags_wait_for_their_time() {
        let mut metadata = Metadata::default();
        metadata.wait(200, Bytes::from_static(b"later")).unwrap();
        metadata.wait(100, Bytes::from_static(b"sooner")).unwrap();
        assert_eq!(metadata.due(99), None);
        assert_eq!(metadata.due(250), Some((200, Bytes::from_static(b"later"))));
        assert_eq!(metadata.due(250), Some((100, Bytes::from_static(b"sooner"))));
        assert!(!metadata.is_waiting());
        for _ in 0..WAITING_MAX {
            metadata.wait(1, Bytes::new()).unwrap();
        }
        assert_eq!(metadata.wait(1, Bytes::new()), Err(CueRefusal::TooMuch));
        metadata.forget_waiting();
        assert_eq!(metadata.due(i64::MAX), None);
    }

    #[test]
    fn message_ids_rise() {
        let mut metadata = Metadata::default();
        let ids =
            [metadata.next_message_id(90_000), metadata.next_message_id(90_000), metadata.next_message_id(1)];
        assert_eq!(ids, [10, 11, 12]);
    }
}
