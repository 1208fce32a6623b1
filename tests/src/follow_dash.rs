//! Follows a live DASH presentation: every version of the MPD, every segment of every Representation once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use headwater_manifest::dash::check::{Checker, RepresentationText, Severity};
use headwater_media::WallTime;

use crate::follow::{body_of, noted, resolve};

/// Between two looks at the MPD: short against every segment.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A segment as the MPD announced it.
#[derive(Debug, Clone)]
pub struct Segment {
    /// The Period's id.
    pub period: String,
    /// S@t in ticks.
    pub t: u64,
    /// S@d in ticks.
    pub d: u64,
    /// The initialization segment's absolute URL.
    pub init: String,
    /// What the URL answered.
    pub body: Vec<u8>,
}

/// Everything seen while following a presentation.
#[derive(Debug, Default)]
pub struct Recording {
    /// Every version of the MPD that differs from the one before.
    pub versions: Vec<String>,
    /// By Representation id and number.
    pub segments: BTreeMap<String, BTreeMap<u64, Segment>>,
    /// Initialization segments by their URLs.
    pub inits: BTreeMap<String, Vec<u8>>,
    /// What the rules say against a version, and answers that were not 200.
    pub failures: Vec<String>,
    /// The ids of all Periods seen.
    pub periods: BTreeSet<String>,
    /// The MPD has become static.
    pub ended: bool,
}

/// Follows `url` until the presentation ends or `bound` has passed.
pub fn follow(url: &str, bound: Duration) -> Recording {
    let mut recording = Recording::default();
    let mut checker = Checker::new();
    let started = Instant::now();
    while !recording.ended && started.elapsed() < bound {
        let looked = Instant::now();
        if let Some(body) = noted(body_of(url), &mut recording.failures) {
            take(&mut recording, &mut checker, url, String::from_utf8_lossy(&body).into_owned());
        }
        std::thread::sleep(LOOK_EVERY.saturating_sub(looked.elapsed()));
    }
    recording
}

fn take(recording: &mut Recording, checker: &mut Checker, url: &str, text: String) {
    if recording.versions.last() == Some(&text) {
        return;
    }
    for finding in checker.observe(&text, Some(now())) {
        if finding.severity > Severity::Notice {
            recording.failures.push(format!("{finding:?}\n{text}"));
        }
    }
    recording.versions.push(text);
    let Some(mpd) = checker.mpd() else { return };
    recording.ended = !mpd.dynamic;
    for period in &mpd.periods {
        let id = period.id.clone().unwrap_or_default();
        recording.periods.insert(id.clone());
        for representation in period.representations() {
            take_segments(recording, url, &id, representation);
        }
    }
}

fn take_segments(recording: &mut Recording, url: &str, period: &str, representation: &RepresentationText) {
    let Some(template) = &representation.template else {
        recording.failures.push(format!("{} has no SegmentTemplate", representation.id));
        return;
    };
    let init = resolve(url, &representation.initialization().unwrap_or_default());
    if !recording.inits.contains_key(&init)
        && let Some(body) = noted(body_of(&init), &mut recording.failures)
    {
        recording.inits.insert(init.clone(), body);
    }
    for (number, t, d) in template.segments() {
        let known = recording.segments.get(&representation.id).and_then(|track| track.get(&number));
        if let Some(known) = known {
            if (known.t, known.d, known.period.as_str()) != (t, d, period) {
                let id = &representation.id;
                recording.failures.push(format!("{id} {number} is announced differently: {t} {d} {period}"));
            }
            continue;
        }
        let media = resolve(url, &representation.media(number, t).unwrap_or_default());
        if let Some(body) = noted(body_of(&media), &mut recording.failures) {
            let segment = Segment { period: period.to_owned(), t, d, init: init.clone(), body };
            recording.segments.entry(representation.id.clone()).or_default().insert(number, segment);
        }
    }
}

fn now() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime::from_unix_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
