//! What a viewer of Low-Latency HLS takes from a media playlist: which parts there are, and which comes next.
//!
//! m3u8-rs knows nothing of parts, so the few tags that count are read here.

use std::time::Duration;

use crate::Error;

/// A part's place: media sequence number and index.
pub type Place = (u64, u64);

/// A part that a playlist lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Where it belongs.
    pub place: Place,
    /// The reference to it.
    pub uri: String,
    /// EXT-X-PART's DURATION.
    pub duration: Duration,
    /// INDEPENDENT=YES: a player can begin here.
    pub is_independent: bool,
}

/// One version of a media playlist.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Playlist {
    /// EXT-X-TARGETDURATION in seconds.
    pub target_duration: u32,
    /// Parts in order.
    pub parts: Vec<Part>,
    /// The part after the last one.
    pub next: Place,
    /// EXT-X-PRELOAD-HINT of a part.
    pub hint: Option<String>,
    /// CAN-BLOCK-RELOAD=YES.
    pub can_block: bool,
    /// PART-HOLD-BACK.
    pub part_hold_back: Option<Duration>,
    /// EXT-X-MAP of the newest segment.
    pub map: Option<String>,
    /// The time of day, since 1970, at the end of the last part or segment.
    pub ends_at: Option<Duration>,
    /// EXT-X-ENDLIST.
    pub is_ended: bool,
}

impl Playlist {
    /// Reads a media playlist, whole or a delta update.
    ///
    /// # Errors
    /// [`Error::Playlist`] if it is none.
    pub fn parse(text: &str) -> Result<Playlist, Error> {
        let wrong = |line: &str| Error::Playlist(format!("not understood: {line:?}"));
        if !text.starts_with("#EXTM3U") {
            return Err(wrong(text.lines().next().unwrap_or("")));
        }
        let mut playlist = Playlist::default();
        let (mut sequence, mut index) = (0, 0);
        let (mut segment_begins, mut segment_lasts, mut parts_end) =
            (None::<Duration>, Duration::ZERO, Duration::ZERO);
        for line in text.lines() {
            if let Some(value) = line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:") {
                sequence = value.parse().map_err(|_| wrong(line))?;
            } else if let Some(value) = line.strip_prefix("#EXT-X-TARGETDURATION:") {
                playlist.target_duration = value.parse().map_err(|_| wrong(line))?;
            } else if let Some(attributes) = line.strip_prefix("#EXT-X-SKIP:") {
                let skipped = attribute(attributes, "SKIPPED-SEGMENTS").and_then(|n| n.parse::<u64>().ok());
                sequence += skipped.ok_or_else(|| wrong(line))?;
            } else if let Some(attributes) = line.strip_prefix("#EXT-X-PART:") {
                let duration =
                    attribute(attributes, "DURATION").and_then(seconds).ok_or_else(|| wrong(line))?;
                let uri = attribute(attributes, "URI").ok_or_else(|| wrong(line))?.to_owned();
                let is_independent = attribute(attributes, "INDEPENDENT") == Some("YES");
                playlist.parts.push(Part { place: (sequence, index), uri, duration, is_independent });
                index += 1;
                parts_end = parts_end.saturating_add(duration);
            } else if let Some(attributes) = line.strip_prefix("#EXT-X-PRELOAD-HINT:TYPE=PART,") {
                playlist.hint = attribute(attributes, "URI").map(str::to_owned);
            } else if let Some(attributes) = line.strip_prefix("#EXT-X-SERVER-CONTROL:") {
                playlist.can_block = attribute(attributes, "CAN-BLOCK-RELOAD") == Some("YES");
                playlist.part_hold_back = attribute(attributes, "PART-HOLD-BACK").and_then(seconds);
            } else if let Some(attributes) = line.strip_prefix("#EXT-X-MAP:") {
                playlist.map = attribute(attributes, "URI").map(str::to_owned);
            } else if let Some(date) = line.strip_prefix("#EXT-X-PROGRAM-DATE-TIME:") {
                segment_begins = Some(time_of_day(date).ok_or_else(|| wrong(line))?);
            } else if let Some(value) = line.strip_prefix("#EXTINF:") {
                let value = value.split(',').next().and_then(seconds);
                segment_lasts = value.ok_or_else(|| wrong(line))?;
            } else if line == "#EXT-X-ENDLIST" {
                playlist.is_ended = true;
            } else if !line.is_empty() && !line.starts_with('#') {
                (sequence, index) = (sequence + 1, 0);
                segment_begins = segment_begins.map(|begins: Duration| begins.saturating_add(segment_lasts));
                parts_end = Duration::ZERO;
            }
        }
        playlist.ends_at = segment_begins.map(|begins| begins.saturating_add(parts_end));
        playlist.next = (sequence, index);
        Ok(playlist)
    }

    /// The parts behind `place`.
    pub fn after(&self, place: Option<Place>) -> &[Part] {
        let known = place.map_or(0, |place| self.parts.partition_point(|part| part.place <= place));
        self.parts.get(known..).unwrap_or_default()
    }
}

/// The first media playlist of a multivariant playlist.
pub fn first_variant(text: &str) -> Option<&str> {
    let mut lines = text.lines().skip_while(|line| !line.starts_with("#EXT-X-STREAM-INF"));
    lines.find(|line| !line.is_empty() && !line.starts_with('#'))
}

/// The media playlist of the first rendition of audio that has one of its own.
pub fn first_audio(text: &str) -> Option<&str> {
    let mut media = text.lines().filter_map(|line| line.strip_prefix("#EXT-X-MEDIA:"));
    media.find(|media| attribute(media, "TYPE") == Some("AUDIO")).and_then(|media| attribute(media, "URI"))
}

/// An attribute's value, without its quotes.
fn attribute<'a>(attributes: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = attributes;
    loop {
        let (key, value) = rest.split_once('=')?;
        let (value, behind) = match value.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => value.split_at(value.find(',').unwrap_or(value.len())),
        };
        if key == name {
            return Some(value);
        }
        rest = behind.strip_prefix(',')?;
    }
}

/// An RFC 3339 date, since 1970.
pub(crate) fn time_of_day(date: &str) -> Option<Duration> {
    let date = chrono::DateTime::parse_from_rfc3339(date).ok()?;
    Some(Duration::from_micros(u64::try_from(date.timestamp_micros()).ok()?))
}

/// A decimal number of seconds, to the microsecond: f64 has far more digits than that.
fn seconds(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:2\n\
        #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=0.6\n#EXT-X-PART-INF:PART-TARGET=0.2\n\
        #EXT-X-MEDIA-SEQUENCE:7\n#EXT-X-MAP:URI=\"init.mp4\"\n#EXT-X-PROGRAM-DATE-TIME:2026-01-31T12:00:00.250Z\n#EXTINF:2.0,\n7.m4s\n\
        #EXT-X-PART:DURATION=0.2,INDEPENDENT=YES,URI=\"8.0.m4s\"\n#EXT-X-PART:DURATION=0.1,URI=\"8.1.m4s\"\n\
        #EXTINF:2.0,\n8.m4s\n#EXT-X-PART:URI=\"9.0.m4s\",DURATION=0.2\n\
        #EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"9.1.m4s\"\n\
        #EXT-X-RENDITION-REPORT:URI=\"../audio/media.m3u8\",LAST-MSN=9,LAST-PART=0\n";

    #[test]
    fn a_playlist_with_parts() {
        let playlist = Playlist::parse(WHOLE).unwrap();
        let places: Vec<_> = playlist.parts.iter().map(|part| part.place).collect();
        assert_eq!(places, [(8, 0), (8, 1), (9, 0)]);
        assert_eq!((playlist.next, playlist.hint.as_deref()), ((9, 1), Some("9.1.m4s")));
        assert_eq!((playlist.target_duration, playlist.is_ended), (2, false));
        let durations: Vec<_> = playlist.parts.iter().map(|part| part.duration.as_millis()).collect();
        assert_eq!(durations, [200, 100, 200]);
        let independent: Vec<_> = playlist.parts.iter().map(|part| part.is_independent).collect();
        assert_eq!(independent, [true, false, false]);
        assert_eq!((playlist.can_block, playlist.part_hold_back), (true, Some(Duration::from_millis(600))));
        // Two segments of 2 s and a part of 0.2 s after 12:00:00.25.
        assert_eq!(playlist.ends_at, Some(Duration::from_millis(1_769_860_804_450)));
        assert_eq!(playlist.map.as_deref(), Some("init.mp4"));
        for (known, expected) in
            [(None, 3), (Some((7, 9)), 3), (Some((8, 0)), 2), (Some((9, 0)), 0), (Some((10, 0)), 0)]
        {
            assert_eq!(playlist.after(known).len(), expected, "{known:?}");
        }
    }

    #[test]
    fn a_delta_update_and_an_end() {
        let text = "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:7\n#EXT-X-SKIP:SKIPPED-SEGMENTS=3\n\
            #EXT-X-PART:DURATION=0.2,URI=\"10.0.m4s\"\n#EXTINF:0.2,\n10.m4s\n#EXT-X-ENDLIST\n";
        let playlist = Playlist::parse(text).unwrap();
        assert_eq!((playlist.next, playlist.is_ended), ((11, 0), true));
        assert_eq!(playlist.parts.first().unwrap().place, (10, 0));
    }

    #[test]
    fn what_is_none() {
        for text in [
            "",
            "<html>",
            "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:x\n",
            "#EXTM3U\n#EXT-X-PART:DURATION=x,URI=\"a\"\n",
            "#EXTM3U\n#EXT-X-PART:URI=\"a\n",
        ] {
            assert!(Playlist::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_first_variant() {
        let text = "#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,URI=\"audio/media.m3u8\"\n#EXT-X-STREAM-INF:BANDWIDTH=1\nvideo/media.m3u8\n";
        assert_eq!(first_variant(text), Some("video/media.m3u8"));
        assert_eq!(first_audio(text), Some("audio/media.m3u8"));
        assert_eq!(first_variant("#EXTM3U\n#EXTINF:1,\na.ts\n"), None);
    }
}
