//! Follows a live HLS stream as a careful player would: every version of the playlist, every segment once.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::server::{fetch, try_fetch};

/// Between two looks at the playlist: short against every segment, so no version with a new segment is missed.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// One segment as the playlist announced it.
#[derive(Debug, Clone)]
pub struct Segment {
    /// The absolute URL.
    pub url: String,
    /// EXT-X-DISCONTINUITY stood before it.
    pub discontinuity: bool,
    /// EXTINF in seconds.
    pub seconds: f64,
    /// The absolute URL of EXT-X-MAP, if one applies.
    pub map: Option<String>,
    /// What the URL answered.
    pub body: Vec<u8>,
}

/// Everything seen while following a stream.
#[derive(Debug, Default)]
pub struct Recording {
    /// The multivariant playlist, empty when the URL was a media playlist.
    pub multivariant: String,
    /// The media playlist's URL.
    pub media_url: String,
    /// Every look at the media playlist: milliseconds since the first, and the text.
    pub versions: Vec<(i64, String)>,
    /// The segments by media sequence number.
    pub segments: BTreeMap<u64, Segment>,
    /// Initialization segments by their URLs.
    pub inits: BTreeMap<String, Vec<u8>>,
    /// Answers that were not 200 and playlists that made no sense.
    pub failures: Vec<String>,
    /// EXT-X-ENDLIST was seen.
    pub ended: bool,
}

impl Recording {
    /// The segments in order, one after the other, as one transport stream.
    pub fn transport_stream(&self) -> Vec<u8> {
        self.segments.values().flat_map(|segment| segment.body.iter().copied()).collect()
    }

    /// Initialization segments and segments of a CMAF track in order, as one file.
    pub fn track_file(&self) -> Vec<u8> {
        let mut file = Vec::new();
        let mut map = &None;
        for segment in self.segments.values() {
            if &segment.map != map {
                map = &segment.map;
                let init = map.as_ref().and_then(|url| self.inits.get(url));
                file.extend_from_slice(init.map(Vec::as_slice).unwrap_or_default());
            }
            file.extend_from_slice(&segment.body);
        }
        file
    }

    /// Seconds that the playlists announced in all.
    pub fn seconds(&self) -> f64 {
        self.segments.values().map(|segment| segment.seconds).sum()
    }
}

/// Follows the first variant of `url` until the playlist ends or `done` says so after a look.
pub fn follow(url: &str, mut done: impl FnMut(&Recording) -> bool) -> Recording {
    let mut recording = Recording::default();
    let first = fetch(url).text();
    if first.contains("#EXT-X-STREAM-INF") {
        let variant = first.lines().skip_while(|line| !line.starts_with("#EXT-X-STREAM-INF")).nth(1);
        recording.media_url = resolve(url, variant.unwrap_or_default());
        recording.multivariant = first;
    } else {
        recording.media_url = url.to_owned();
    }
    let started = Instant::now();
    loop {
        let looked = Instant::now();
        match try_fetch(&recording.media_url) {
            Some(answer) if answer.status == 200 => {
                let at_ms = i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX);
                let text = answer.text();
                take(&mut recording, &text);
                recording.versions.push((at_ms, text));
            }
            Some(answer) => recording.failures.push(format!("playlist: status {}", answer.status)),
            None => recording.failures.push("playlist: no answer".to_owned()),
        }
        if recording.ended || done(&recording) {
            return recording;
        }
        std::thread::sleep(LOOK_EVERY.saturating_sub(looked.elapsed()));
    }
}

/// Fetches the segments of one version that are new.
fn take(recording: &mut Recording, text: &str) {
    let mut sequence = 0_u64;
    let mut seconds = 0.0;
    let mut discontinuity = false;
    let mut map = None;
    for line in text.lines() {
        if let Some(number) = line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:") {
            match number.parse() {
                Ok(number) => sequence = number,
                Err(_) => recording.failures.push(format!("not a media sequence number: {number}")),
            }
        } else if let Some(duration) = line.strip_prefix("#EXTINF:") {
            seconds = duration.split(',').next().and_then(|text| text.parse().ok()).unwrap_or_default();
        } else if let Some(attributes) = line.strip_prefix("#EXT-X-MAP:") {
            let uri = attributes.split('"').nth(1).unwrap_or_default();
            let url = resolve(&recording.media_url, uri);
            if !recording.inits.contains_key(&url)
                && let Some(body) = noted(body_of(&url), &mut recording.failures)
            {
                recording.inits.insert(url.clone(), body);
            }
            map = Some(url);
        } else if line == "#EXT-X-DISCONTINUITY" {
            discontinuity = true;
        } else if line == "#EXT-X-ENDLIST" {
            recording.ended = true;
        } else if !line.starts_with('#') && !line.is_empty() {
            if !recording.segments.contains_key(&sequence) {
                let url = resolve(&recording.media_url, line);
                if let Some(body) = noted(body_of(&url), &mut recording.failures) {
                    let segment = Segment { url, discontinuity, seconds, map: map.clone(), body };
                    recording.segments.insert(sequence, segment);
                }
            }
            sequence += 1;
            discontinuity = false;
        }
    }
}

/// The body of a 200.
///
/// # Errors
/// What came instead.
pub(crate) fn body_of(url: &str) -> Result<Vec<u8>, String> {
    match try_fetch(url) {
        Some(answer) if answer.status == 200 => Ok(answer.body),
        Some(answer) => Err(format!("{url}: status {}", answer.status)),
        None => Err(format!("{url}: no answer")),
    }
}

/// The value; what came instead goes into `failures`.
pub(crate) fn noted<T>(outcome: Result<T, String>, failures: &mut Vec<String>) -> Option<T> {
    outcome.map_err(|failure| failures.push(failure)).ok()
}

/// `reference` against the URL of the playlist or MPD that holds it.
pub(crate) fn resolve(base: &str, reference: &str) -> String {
    if reference.contains("://") {
        return reference.to_owned();
    }
    let base = base.split('?').next().unwrap_or(base);
    let host_end = base.find("://").and_then(|scheme| Some(scheme + 3 + base.get(scheme + 3..)?.find('/')?));
    match host_end {
        Some(end) if reference.starts_with('/') => format!("{}{reference}", &base[..end]),
        _ => {
            let mut folder = base.rsplit_once('/').map_or(base, |(folder, _)| folder);
            let mut reference = reference;
            while let Some(rest) = reference.strip_prefix("../") {
                reference = rest;
                folder = folder.rsplit_once('/').map_or(folder, |(folder, _)| folder);
            }
            format!("{folder}/{reference}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_of_a_playlist() {
        for (base, reference, expected) in [
            ("http://h:1/live/cam/index.m3u8", "v/1.ts", "http://h:1/live/cam/v/1.ts"),
            ("http://h:1/live/cam/index.m3u8?a=/b", "1.ts", "http://h:1/live/cam/1.ts"),
            ("http://h:1/live/cam/index.m3u8", "/x/1.ts", "http://h:1/x/1.ts"),
            ("http://h:1/live/cam/v/m.m3u8", "../a/m.m3u8", "http://h:1/live/cam/a/m.m3u8"),
            ("http://h:1/live/cam/index.m3u8", "http://o/1.ts", "http://o/1.ts"),
        ] {
            assert_eq!(resolve(base, reference), expected);
        }
    }
}
