//! What a media playlist offers beyond itself, tried at every version: the delta update of the next one, merged and held against
//! the full playlist of the same version (8216bis 6.2.5.1, 6.3.7), and what it reports of another rendition, held against that one
//! (8216bis 4.4.5.4).

use std::time::{Duration, Instant};

use headwater_manifest::hls::check::{
    Checker, Finding, MediaText, MergeError, SegmentText, Severity, compare_reports, excerpt, merge_delta,
};

use super::http::{Answer, Fetcher};
use super::report::Log;
use super::url::resolve;

/// What was tried so far.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Tried {
    /// Delta updates that were compared with the full playlist of their version.
    pub(super) deltas: u64,
    /// Rendition reports that were compared with the other rendition's playlist.
    pub(super) reports: u64,
    /// Versions that were looked at: delta updates of either kind and reports take turns.
    rounds: usize,
}

impl Tried {
    /// One version of the playlist at `url`: `full` as it was answered, `media` as it was read from that.
    pub(super) fn version(
        &mut self,
        fetcher: &Fetcher,
        url: &str,
        full: &str,
        media: &MediaText,
        log: &mut Log,
    ) {
        if media.ended {
            return;
        }
        self.rounds = self.rounds.wrapping_add(1);
        self.report(fetcher, url, media, log);
        if control(media, "CAN-SKIP-UNTIL").is_some() {
            self.delta(fetcher, url, full, media, log);
        }
    }

    /// Asks for the next version as a delta update, and for the same in full.
    fn delta(
        &mut self,
        fetcher: &Fetcher,
        url: &str,
        held: &str,
        media: &MediaText,
        log: &mut Log,
    ) -> Option<()> {
        // 8216bis 6.2.5.1: v2 leaves out EXT-X-DATERANGE as well, where that is offered.
        let v2 = control(media, "CAN-SKIP-DATERANGES") == Some("YES") && self.rounds.is_multiple_of(2);
        let skip = if v2 { "_HLS_skip=v2" } else { "_HLS_skip=YES" };
        let next = next_version(media);
        let delta = ok(fetcher.playlist(&with_query(url, &[&next, skip])), skip, log)?;
        let delta = String::from_utf8_lossy(&delta.body).into_owned();
        let merged = match merge_delta(held, &delta) {
            Ok(merged) => merged,
            // A short playlist has nothing to leave out: a full one is as good an answer.
            Err(MergeError::NoSkip) => return None,
            Err(error) => {
                log.error("hls 6.2", format!("{skip}: {error}"));
                return None;
            }
        };
        // By itself: what else is wrong with that version is found where it is polled, and a cache may still answer with one before it.
        let mut checker = Checker::new(url);
        checker.observe(held, 0);
        log.extend(checker.observe_delta(&delta, 0).into_iter().filter(|finding| finding.rule == "hls 6.2"));
        let full = ok(fetcher.playlist(&with_query(url, &[&next])), "the next version", log)?;
        let (merged, full) = (read(url, &merged)?, read(url, &String::from_utf8_lossy(&full.body))?);
        if is_same_version(&merged, &full) {
            self.deltas = self.deltas.saturating_add(1);
            if let Some(difference) = difference(&merged, &full) {
                log.error("hls 6.2", format!("{skip}: {difference}"));
            }
        }
        Some(())
    }

    /// Fetches one of the renditions that are reported of. It was reported before it is fetched, so it must have come as far.
    fn report(&mut self, fetcher: &Fetcher, url: &str, media: &MediaText, log: &mut Log) {
        let Some(index) = self.rounds.checked_rem(media.reports.len()) else { return };
        let Some(report) = media.reports.get(index) else { return };
        let Some(other_url) = resolve(url, &report.uri) else {
            log.error("hls 5.10", format!("a report of {}, which is no URI", excerpt(&report.uri)));
            return;
        };
        let asked_at = Instant::now();
        let Some(findings) = compared(fetcher, url, media, &other_url, &other_url, log) else { return };
        let round_trip = asked_at.elapsed();
        self.reports = self.reports.saturating_add(1);
        let is_ahead = findings.iter().any(|finding| finding.severity == Severity::Error);
        if !is_ahead {
            log.extend(findings);
            return;
        }
        // A cache may hold a playlist of a second ago. Nobody holds what has not been yet: whoever is asked for that waits for it.
        let (msn, part) = media.last_position();
        let told = (report.last_msn.unwrap_or(msn), report.last_part.or(part));
        let place = directives(told.0, told.1);
        let exactly = with_query(&other_url, &[&place]);
        let asked_at = Instant::now();
        let Some(findings) = compared(fetcher, url, media, &other_url, &exactly, log) else { return };
        let waited = asked_at.elapsed();
        let has_come = findings.iter().all(|finding| finding.severity != Severity::Error);
        let patience = round_trip.saturating_add(Duration::from_micros(media.part_target_us.unwrap_or(0)));
        log.extend(findings);
        if has_come && waited > patience {
            // Without a figure, so that it is one finding.
            let message =
                format!("{place} of {} is reported, and had to be waited for", excerpt(&report.uri));
            log.warning("hls 5.10", message);
        }
    }
}

/// What `media` reports of the rendition at `other_url`, held against what is answered at `fetched_from`. `None` when that can't be told.
fn compared(
    fetcher: &Fetcher,
    url: &str,
    media: &MediaText,
    other_url: &str,
    fetched_from: &str,
    log: &mut Log,
) -> Option<Vec<Finding>> {
    let answer = match fetcher.playlist(fetched_from) {
        Ok(answer) if answer.status == 200 => answer,
        // It stands still, and what was waited for did not come in time.
        Ok(answer) if answer.status == 503 && fetched_from != other_url => return None,
        Ok(answer) => {
            let status = answer.status;
            log.error(
                "hls 5.10",
                format!("{} is reported of, and answered with {status}", excerpt(fetched_from)),
            );
            return None;
        }
        Err(error) => {
            log.error("hls 5.10", format!("a rendition is reported of, and could not be fetched: {error}"));
            return None;
        }
    };
    let mut other = read(other_url, &String::from_utf8_lossy(&answer.body))?;
    // What it reports in its turn is of a later time than `media`.
    other.reports.clear();
    // Among themselves, so that what is not reported of has no part in it.
    let mut own = media.clone();
    own.reports.retain(|report| resolve(url, &report.uri).as_deref() == Some(other_url));
    Some(compare_reports(&[(url, &own), (other_url, &other)]))
}

/// A good answer, or a finding unless the stream stands still.
fn ok(answer: Result<Answer, String>, what: &str, log: &mut Log) -> Option<Answer> {
    match answer {
        Ok(answer) if answer.status == 200 => return Some(answer),
        Ok(answer) if answer.status == 503 => {}
        Ok(answer) => log.error("hls 6.2", format!("{what} is offered, and answered with {}", answer.status)),
        Err(error) => log.error("hls 6.2", format!("{what} is offered, and could not be fetched: {error}")),
    }
    None
}

fn read(url: &str, text: &str) -> Option<MediaText> {
    let mut checker = Checker::new(url);
    checker.observe(text, 0);
    checker.media().cloned()
}

/// An EXT-X-SERVER-CONTROL attribute.
fn control<'m>(media: &'m MediaText, name: &str) -> Option<&'m str> {
    let attributes = media.server_control.as_ref()?;
    attributes.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str())
}

/// The directives for the version after this one, where a server waits for it; nothing else.
fn next_version(media: &MediaText) -> String {
    if control(media, "CAN-BLOCK-RELOAD") != Some("YES") {
        return String::new();
    }
    let part = media.edge.as_ref().map_or(0, |edge| edge.parts.len() as u64);
    directives(media.end_sequence(), media.is_low_latency().then_some(part))
}

fn directives(msn: u64, part: Option<u64>) -> String {
    let part = part.map(|part| format!("&_HLS_part={part}")).unwrap_or_default();
    format!("_HLS_msn={msn}{part}")
}

/// `url` with more of a query.
fn with_query(url: &str, more: &[&str]) -> String {
    let more = more.iter().filter(|more| !more.is_empty());
    more.fold(url.to_owned(), |url, more| {
        let mark = if url.contains('?') { '&' } else { '?' };
        format!("{url}{mark}{more}")
    })
}

/// Whether two playlists end at the same place by the names they give, for what a wrong delta update gets wrong is their numbers.
fn is_same_version(a: &MediaText, b: &MediaText) -> bool {
    let end = |media: &MediaText| {
        let last = media.segments.last().map(|segment| segment.uri.clone());
        let part = media.edge.as_ref().and_then(|edge| edge.parts.last()).map(|part| part.uri.clone());
        (last, part, media.hint.clone(), media.ended)
    };
    end(a) == end(b)
}

/// What a merged playlist has that the full one of its version hasn't, or the other way round. Dates are compared where both give
/// them, for a full playlist dates its first segment; parts of segments that were left out have gone with them.
fn difference(merged: &MediaText, full: &MediaText) -> Option<String> {
    let numbers = |media: &MediaText| {
        [
            ("EXT-X-TARGETDURATION", media.target_duration),
            ("EXT-X-MEDIA-SEQUENCE", Some(media.media_sequence)),
            ("EXT-X-DISCONTINUITY-SEQUENCE", media.discontinuity_sequence),
            ("the number after the last segment", Some(media.end_sequence())),
        ]
    };
    let text = |value: Option<u64>| value.map_or("none".to_owned(), |value| value.to_string());
    for ((what, a), (_, b)) in numbers(merged).into_iter().zip(numbers(full)) {
        if a != b {
            return Some(format!("merged, {what} is {}, and {} in the full playlist", text(a), text(b)));
        }
    }
    let pairs = merged.segments.iter().zip(&full.segments).chain(merged.edge.iter().zip(&full.edge));
    for (a, b) in pairs {
        if let Some(what) = differing(a, b) {
            return Some(format!(
                "merged, segment {} has another {what} than in the full playlist ({} and {})",
                b.sequence,
                excerpt(&a.uri),
                excerpt(&b.uri)
            ));
        }
    }
    None
}

fn differing(a: &SegmentText, b: &SegmentText) -> Option<&'static str> {
    let dates = a.program_date_time_us.zip(b.program_date_time_us);
    let parts = (!a.parts.is_empty() && !b.parts.is_empty()).then_some((&a.parts, &b.parts));
    [
        ("URI", a.uri != b.uri),
        ("#EXTINF", a.duration_us != b.duration_us),
        ("number of #EXT-X-DISCONTINUITY", a.discontinuities != b.discontinuities),
        ("#EXT-X-GAP", a.gap != b.gap),
        ("#EXT-X-MAP", a.map != b.map),
        ("#EXT-X-BYTERANGE", a.byte_range != b.byte_range),
        ("#EXT-X-KEY", a.encrypted != b.encrypted),
        ("#EXT-X-PROGRAM-DATE-TIME", dates.is_some_and(|(a, b)| a != b)),
        ("list of #EXT-X-PART", parts.is_some_and(|(a, b)| a != b)),
    ]
    .into_iter()
    .find(|(_, differs)| *differs)
    .map(|(what, _)| what)
}
