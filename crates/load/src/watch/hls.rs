//! HLS: whole segments by m3u8-rs, or parts with blocking reloads where the playlist offers both.

use std::time::Duration;

use m3u8_rs::MediaPlaylist;
use tokio::time::{Instant, sleep_until};

use super::Kind;
use super::viewer::{START_SEGMENTS, Viewer};
use crate::Error;
use crate::address::Address;
use crate::client::Client;
use crate::playlist::{Playlist, first_audio, first_variant};

/// A playlist is not asked for more often, whatever its target duration says.
const RELOAD_MIN: Duration = Duration::from_millis(500);

/// What hls.js and Safari keep of a playlist without PART-HOLD-BACK, in parts (8216bis 4.4.3.8: at least three).
const HOLD_BACK_PARTS: u32 = 3;

/// One version of a media playlist in segments.
#[derive(Debug, PartialEq)]
pub(crate) struct Segments {
    target_duration: Duration,
    is_ended: bool,
    segments: Vec<Segment>,
}

#[derive(Debug, PartialEq)]
struct Segment {
    sequence: u64,
    uri: String,
    map: Option<String>,
    duration: Duration,
    /// The time of day at its end, since 1970, where a date is listed.
    ends_at: Option<Duration>,
}

impl Segments {
    /// Reads a media playlist.
    pub(crate) fn parse(text: &str) -> Result<Segments, Error> {
        let playlist = m3u8_rs::parse_media_playlist_res(text.as_bytes())
            .map_err(|_| Error::Playlist("m3u8-rs can't read it".to_owned()))?;
        let MediaPlaylist { target_duration, media_sequence, segments, end_list, .. } = playlist;
        let (mut date, mut map) = (None, None);
        let segments = (media_sequence..).zip(segments).map(|(sequence, segment)| {
            let duration = Duration::try_from_secs_f32(segment.duration).unwrap_or_default();
            let begins =
                segment.program_date_time.and_then(|date| u64::try_from(date.timestamp_millis()).ok());
            date = begins.map(Duration::from_millis).or(date).and_then(|date| date.checked_add(duration));
            map = segment.map.map(|map| map.uri).or_else(|| map.take());
            Segment { sequence, uri: segment.uri, map: map.clone(), duration, ends_at: date }
        });
        let segments = segments.collect();
        Ok(Segments { target_duration: Duration::from_secs(target_duration), is_ended: end_list, segments })
    }
}

/// Follows a multivariant or a media playlist until the stream ends.
pub(crate) async fn follow(viewer: &Viewer<'_>) -> Result<(), Error> {
    let mut client = Client::connect(&viewer.address, viewer.source).await?;
    let text = viewer.document(&mut client, &viewer.address.path).await?.text()?;
    let at = |reference: &str| {
        let path = viewer.address.resolve(reference);
        path.map(|path| viewer.address.with_path(path))
            .ok_or_else(|| Error::Playlist(format!("{reference} is on another host")))
    };
    let Some(variant) = first_variant(&text) else {
        return follow_tracks(viewer, &viewer.address, None, &text).await;
    };
    let (video, audio) = (at(variant)?, first_audio(&text).map(at).transpose()?);
    let text = viewer.document(&mut client, &video.path).await?.text()?;
    follow_tracks(viewer, &video, audio.as_ref(), &text).await
}

/// Follows the first variant, of which this is a version, and its sound where that is apart.
async fn follow_tracks(
    viewer: &Viewer<'_>,
    video: &Address,
    audio: Option<&Address>,
    text: &str,
) -> Result<(), Error> {
    let playlist = Playlist::parse(text)?;
    let tracks = if audio.is_some() { 2 } else { 1 };
    if playlist.can_block && !playlist.parts.is_empty() {
        viewer.note_kind(Kind::LowLatencyHls);
        let part = playlist.parts.iter().map(|part| part.duration).max().unwrap_or_default();
        viewer.begin(tracks, part);
        tokio::try_join!(follow_parts(viewer, 0, video), async {
            match audio {
                Some(audio) => follow_parts(viewer, 1, audio).await,
                None => Ok(()),
            }
        })?;
    } else {
        viewer.note_kind(Kind::Hls);
        viewer.begin(tracks, Duration::ZERO);
        tokio::try_join!(follow_segments(viewer, 0, video), async {
            match audio {
                Some(audio) => follow_segments(viewer, 1, audio).await,
                None => Ok(()),
            }
        })?;
    }
    Ok(())
}

async fn follow_segments(viewer: &Viewer<'_>, track: usize, address: &Address) -> Result<(), Error> {
    let mut client = Client::connect(address, viewer.source).await?;
    let (mut known, mut known_map) = (None::<u64>, None::<String>);
    loop {
        let asked = Instant::now();
        let answer = viewer.document(&mut client, &address.path).await?;
        let playlist = viewer.shared.segments.read(&address.path, &answer, Segments::parse)?;
        let first = match known {
            None => playlist.segments.len().saturating_sub(START_SEGMENTS),
            Some(known) => playlist.segments.partition_point(|segment| segment.sequence <= known),
        };
        let mut is_newer = false;
        for segment in playlist.segments.iter().skip(first) {
            if segment.map.is_some() && segment.map != known_map {
                viewer.media(&mut client, address, segment.map.as_deref().unwrap_or_default()).await?;
                known_map.clone_from(&segment.map);
            }
            viewer.media(&mut client, address, &segment.uri).await?;
            viewer.arrived(track, segment.duration);
            if let Some(known) = known {
                viewer.note_missed(segment.sequence.saturating_sub(known + 1));
            }
            (known, is_newer) = (Some(segment.sequence), true);
        }
        if let Some(ends_at) = playlist.segments.last().and_then(|segment| segment.ends_at)
            && is_newer
            && track == 0
        {
            viewer.note_behind(ends_at);
        }
        if playlist.is_ended {
            return Ok(());
        }
        // 8216bis 6.3.4: counted from the last request, not from its answer.
        let wait = if is_newer { playlist.target_duration } else { playlist.target_duration / 2 };
        sleep_until(asked + wait.max(RELOAD_MIN)).await;
    }
}

/// As hls.js does: the hinted part on a second connection while the playlist that lists it is waited for.
async fn follow_parts(viewer: &Viewer<'_>, track: usize, address: &Address) -> Result<(), Error> {
    let path = &address.path;
    let mut client = Client::connect(address, viewer.source).await?;
    let mut second = Client::connect(address, viewer.source).await?;
    let read = |answer: &_| viewer.shared.parts.read(path, answer, Playlist::parse);
    let mut playlist = read(&viewer.document(&mut client, path).await?)?;
    if let Some(map) = &playlist.map {
        viewer.media(&mut second, address, map).await?;
    }
    let (first, hold_back) = playlist.start();
    for part in playlist.parts.iter().skip(first) {
        viewer.media(&mut second, address, &part.uri).await?;
    }
    viewer.arrived(track, hold_back);
    let mut known = playlist.parts.last().map(|part| part.place);
    while !playlist.is_ended {
        let (sequence, part) = playlist.next;
        let separator = if path.contains('?') { '&' } else { '?' };
        let next = format!("{path}{separator}_HLS_msn={sequence}&_HLS_part={part}");
        let (answer, hinted) = tokio::join!(viewer.held(&mut client, &next), async {
            let hint = playlist.hint.as_ref()?;
            Some(viewer.media(&mut second, address, hint).await.map(|()| hint.clone()))
        });
        let newer = read(&answer?)?;
        let hinted = hinted.transpose()?;
        for part in newer.after(known) {
            if hinted.as_ref() != Some(&part.uri) {
                viewer.media(&mut second, address, &part.uri).await?;
            }
            viewer.arrived(track, part.duration);
        }
        if let Some(ends_at) = newer.ends_at
            && track == 0
        {
            viewer.note_behind(ends_at);
        }
        known = newer.parts.last().map(|part| part.place).max(known);
        playlist = newer;
    }
    Ok(())
}

impl Playlist {
    /// The part that a player begins with, and how much it keeps: from the newest part that can be decoded alone and is as far from the
    /// end as PART-HOLD-BACK.
    fn start(&self) -> (usize, Duration) {
        let longest = self.parts.iter().map(|part| part.duration).max().unwrap_or_default();
        let wanted = self.part_hold_back.unwrap_or(longest.saturating_mul(HOLD_BACK_PARTS));
        let (mut first, mut kept) = (self.parts.len(), Duration::ZERO);
        for (index, part) in self.parts.iter().enumerate().rev() {
            kept = kept.saturating_add(part.duration);
            if part.is_independent {
                first = index;
                if kept >= wanted {
                    break;
                }
            }
        }
        let kept = self.parts.iter().skip(first).map(|part| part.duration);
        let kept = kept.fold(Duration::ZERO, Duration::saturating_add);
        (first, kept.min(wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::playlist::Part;

    #[test]
    fn segments_with_dates_and_maps() {
        let text = "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:7\n#EXT-X-MAP:URI=\"i.mp4\"\n\
            #EXT-X-PROGRAM-DATE-TIME:2026-01-31T12:00:00.250Z\n#EXTINF:2.0,\n7.m4s\n#EXTINF:1.5,\n8.m4s\n";
        let playlist = Segments::parse(text).unwrap();
        assert_eq!((playlist.target_duration, playlist.is_ended), (Duration::from_secs(2), false));
        let second = playlist.segments.get(1).unwrap();
        assert_eq!(
            (second.sequence, second.uri.as_str(), second.map.as_deref()),
            (8, "8.m4s", Some("i.mp4"))
        );
        assert_eq!(second.ends_at, Some(Duration::from_millis(1_769_860_803_750)));
        assert!(Segments::parse(&format!("{text}#EXT-X-ENDLIST\n")).unwrap().is_ended);
        assert!(Segments::parse("<html>").is_err());
    }

    #[test]
    fn where_a_low_latency_player_begins() {
        let part = |index, is_independent| Part {
            place: (1, index),
            uri: String::new(),
            duration: Duration::from_millis(200),
            is_independent,
        };
        let parts = [true, false, false, true, false, true, false];
        let playlist = |hold_back_ms: Option<u64>| Playlist {
            parts: (0..).zip(parts).map(|(index, independent)| part(index, independent)).collect(),
            part_hold_back: hold_back_ms.map(Duration::from_millis),
            ..Playlist::default()
        };
        for (hold_back_ms, expected) in
            [(Some(400), (5, 400)), (Some(600), (3, 600)), (None, (3, 600)), (Some(5_000), (0, 1_400))]
        {
            let (first, kept) = playlist(hold_back_ms).start();
            assert_eq!((first, kept), (expected.0, Duration::from_millis(expected.1)), "{hold_back_ms:?}");
        }
    }
}
