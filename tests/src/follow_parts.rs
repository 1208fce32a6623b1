//! Follows one rendition of a Low-Latency HLS stream as a client does: each version by a blocking reload, as a full playlist and as a
//! delta update in turn, each hinted part by a request that is held, each segment while it is under construction.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use headwater_manifest::hls::check::{Checker, Severity, merge_delta};

use crate::follow::{body_of, noted, resolve};
use crate::server::try_fetch;

/// While a publisher is away, which here is the three seconds before the end, a playlist has no hint: so many looks, so far apart.
const LOOKS_WITHOUT_HINT_MAX: u32 = 60;
const LOOK: Duration = Duration::from_millis(200);

/// A part's segment and its place there.
pub type Place = (u64, u64);

/// Everything seen while following.
#[derive(Debug, Default)]
pub struct Recording {
    /// Versions that were taken.
    pub versions: usize,
    /// Delta updates among them.
    pub deltas: usize,
    /// Delta updates that were compared with the full playlist of the same version, byte for byte.
    pub deltas_compared: usize,
    /// Parts that were asked for by a hint, before they were listed.
    pub hinted: BTreeSet<Place>,
    /// Every part by its place.
    pub parts: BTreeMap<Place, Vec<u8>>,
    /// Complete segments by number.
    pub segments: BTreeMap<u64, Vec<u8>>,
    /// The same, asked for when their first part was listed.
    pub grown: BTreeMap<u64, Vec<u8>>,
    /// Rendition reports that were compared with what can be fetched.
    pub reports: usize,
    /// The initialization segment; there is one.
    pub init: Vec<u8>,
    /// What is wrong.
    pub failures: Vec<String>,
    /// EXT-X-ENDLIST was seen.
    pub ended: bool,
}

/// What is fetched beside the playlist.
enum Fetched {
    Hinted(Place, Result<Vec<u8>, String>),
    Grown(u64, Result<Vec<u8>, String>),
}

struct Follower<'a> {
    url: &'a str,
    recording: Recording,
    checker: Checker,
    started: Instant,
    fetched: Receiver<Fetched>,
    sender: Sender<Fetched>,
    /// Hints that were asked for, each once.
    asked: BTreeSet<Place>,
    growing: BTreeSet<u64>,
    /// A hint that led to nothing.
    withdrawn: Option<(Place, String)>,
    /// The full text of the newest version.
    held: String,
}

/// Follows the media playlist at `url` until it ends.
pub fn follow(url: &str) -> Recording {
    let (sender, fetched) = channel();
    let mut follower = Follower {
        url,
        recording: Recording::default(),
        checker: Checker::new(url),
        started: Instant::now(),
        fetched,
        sender,
        asked: BTreeSet::new(),
        growing: BTreeSet::new(),
        withdrawn: None,
        held: String::new(),
    };
    let mut without_hint = 0;
    std::thread::scope(|scope| {
        let Some(text) = follower.playlist("") else { return };
        follower.take(text, false);
        for round in 0_u64.. {
            let is_wrong = !follower.recording.failures.is_empty();
            if follower.recording.ended || is_wrong {
                break;
            }
            let Some(place) = follower.hint() else {
                // Its publisher is away: nobody knows what comes, and the end is near.
                without_hint += 1;
                if without_hint > LOOKS_WITHOUT_HINT_MAX {
                    follower.fail("a live playlist without a hint".to_owned());
                    break;
                }
                std::thread::sleep(LOOK);
                let Some(text) = follower.playlist("") else { break };
                follower.take(text, false);
                continue;
            };
            if without_hint > 0 {
                follower.fail("a hint was missing, and media went on".to_owned());
                break;
            }
            follower.ask_ahead(scope, place);
            let (sequence, part) = place;
            let directives = format!("?_HLS_msn={sequence}&_HLS_part={part}");
            let as_delta = round % 2 == 0;
            let skip = if as_delta { "&_HLS_skip=YES" } else { "" };
            let Some(text) = follower.playlist(&format!("{directives}{skip}")) else { break };
            let is_delta = text.contains("#EXT-X-SKIP:");
            if is_delta && !as_delta {
                follower.fail(format!("a delta update that nobody asked for:\n{text}"));
            }
            if is_delta {
                follower.compare(&text, &directives);
            }
            follower.take(text, is_delta);
        }
    });
    follower.collect();
    follower.finish()
}

impl Follower<'_> {
    fn fail(&mut self, what: impl std::fmt::Display) {
        self.recording.failures.push(format!("{}: {what}", self.url));
    }

    fn playlist(&mut self, query: &str) -> Option<String> {
        let url = format!("{}{query}", self.url);
        let body = noted(body_of(&url), &mut self.recording.failures)?;
        Some(String::from_utf8_lossy(&body).into_owned())
    }

    /// What the newest version hints at: `1790000000.3.m4s`.
    fn hint(&self) -> Option<Place> {
        place(&self.checker.media()?.hint.as_ref()?.uri)
    }

    /// Asks for the hinted part, and for the segment under construction, before anything of them is there.
    fn ask_ahead<'scope>(&mut self, scope: &'scope std::thread::Scope<'scope, '_>, hinted: Place) {
        let (sequence, part) = hinted;
        if !self.asked.insert(hinted) {
            self.fail(format!("part {hinted:?} is hinted at by two versions"));
            return;
        }
        let (url, sender) = (resolve(self.url, &format!("{sequence}.{part}.m4s")), self.sender.clone());
        scope.spawn(move || sender.send(Fetched::Hinted(hinted, body_of(&url))));
        // It has a part, and is not complete: its URL answers with what comes.
        if part > 0 && self.growing.insert(sequence) {
            let (url, sender) = (resolve(self.url, &format!("{sequence}.m4s")), self.sender.clone());
            scope.spawn(move || sender.send(Fetched::Grown(sequence, body_of(&url))));
        }
    }

    /// A delta update, merged with the version before, is the full playlist.
    fn compare(&mut self, delta: &str, directives: &str) {
        let merged = match merge_delta(&self.held, delta) {
            Ok(merged) => merged,
            Err(error) => return self.fail(format!("{error}:\n{}\n{delta}", self.held)),
        };
        let Some(full) = self.playlist(directives) else { return };
        // Another part may have come meanwhile, of either rendition.
        let version = |text: &str| {
            let lines = text.lines().filter(|line| {
                line.starts_with("#EXT-X-PRELOAD-HINT") || line.starts_with("#EXT-X-RENDITION-REPORT")
            });
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        if version(&full) == version(&merged) {
            self.recording.deltas_compared += 1;
            if full != merged {
                self.fail(format!("a merged delta update is not the full playlist:\n{merged}\n{full}"));
            }
        }
    }

    fn take(&mut self, text: String, is_delta: bool) {
        let at_ms = i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX);
        let findings = if is_delta {
            self.checker.observe_delta(&text, at_ms)
        } else {
            self.checker.observe(&text, at_ms)
        };
        for finding in findings {
            // How soon a version comes is the machine's affair as much as the server's.
            let is_about_time = ["hls 5.7", "hls 3.5"].contains(&finding.rule);
            if finding.severity > Severity::Notice && !is_about_time {
                self.fail(format!("{finding}\n{text}"));
            }
        }
        self.recording.versions += 1;
        self.recording.deltas += usize::from(is_delta);
        self.held = if is_delta { merge_delta(&self.held, &text).unwrap_or_default() } else { text };
        self.collect();
        self.fetch_listed();
        self.check_reports();
    }

    /// What was asked for ahead and has come.
    fn collect(&mut self) {
        while let Ok(fetched) = self.fetched.try_recv() {
            match fetched {
                Fetched::Hinted(place, Ok(body)) => {
                    self.recording.hinted.insert(place);
                    if self.recording.parts.insert(place, body).is_some() {
                        self.fail(format!("part {place:?} came twice"));
                    }
                }
                Fetched::Grown(sequence, Ok(body)) => {
                    self.recording.grown.insert(sequence, body);
                }
                Fetched::Hinted(place, Err(failure)) => self.withdrawn = Some((place, failure)),
                Fetched::Grown(_, Err(failure)) => self.fail(failure),
            }
        }
    }

    /// Complete segments, and parts that were listed before they could be hinted at.
    fn fetch_listed(&mut self) {
        let Some(media) = self.checker.media() else { return };
        self.recording.ended = media.ended;
        let init = media.segments.first().and_then(|segment| segment.map.clone());
        let segments: Vec<(u64, String)> =
            media.segments.iter().map(|segment| (segment.sequence, segment.uri.clone())).collect();
        let listed = media.segments.iter().chain(&media.edge);
        let parts: Vec<String> =
            listed.flat_map(|segment| &segment.parts).map(|part| part.uri.clone()).collect();
        if self.recording.init.is_empty()
            && let Some(init) = init
        {
            self.recording.init = self.body(&init).unwrap_or_default();
        }
        for uri in parts {
            let Some(place) = place(&uri) else { return self.fail(format!("a part is called {uri}")) };
            if !self.asked.contains(&place) && !self.recording.parts.contains_key(&place) {
                let Some(body) = self.body(&uri) else { continue };
                self.recording.parts.insert(place, body);
            }
        }
        for (sequence, uri) in segments {
            if !self.recording.segments.contains_key(&sequence) {
                let Some(body) = self.body(&uri) else { continue };
                self.recording.segments.insert(sequence, body);
            }
        }
    }

    fn body(&mut self, uri: &str) -> Option<Vec<u8>> {
        noted(body_of(&resolve(self.url, uri)), &mut self.recording.failures)
    }

    /// What a report tells of the other rendition is there: its playlist, asked for afterwards, has come as far.
    fn check_reports(&mut self) {
        let reports = self.checker.media().map(|media| media.reports.clone()).unwrap_or_default();
        for report in reports {
            let told = (report.last_msn.unwrap_or_default(), report.last_part.unwrap_or_default());
            let url = resolve(self.url, &report.uri);
            let Some(answer) = try_fetch(&url).filter(|answer| answer.status == 200) else {
                self.fail(format!("no playlist at {url}, of which is reported"));
                continue;
            };
            let mut other = Checker::new(&url);
            other.observe(&answer.text(), 0);
            let there = other.media().map(headwater_manifest::hls::check::MediaText::last_position);
            let is_there = there.is_some_and(|(msn, part)| (msn, part.unwrap_or(u64::MAX)) >= told);
            self.recording.reports += 1;
            if !is_there {
                self.fail(format!("{told:?} of {url} is reported, and {there:?} is there"));
            }
        }
    }

    /// The last hint of all may lead to nothing: the stream ended.
    fn finish(mut self) -> Recording {
        let last = self.asked.last().copied();
        if let Some((place, failure)) = self.withdrawn.take()
            && !(self.recording.ended && last == Some(place))
        {
            self.fail(failure);
        }
        self.recording
    }
}

/// `1790000000.3.m4s`.
fn place(uri: &str) -> Option<Place> {
    let (sequence, rest) = uri.split_once('.')?;
    Some((sequence.parse().ok()?, rest.strip_suffix(".m4s")?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_parts() {
        assert_eq!(place("1790000000.3.m4s"), Some((1_790_000_000, 3)));
        assert_eq!(place("1790000000.m4s"), None);
    }
}
