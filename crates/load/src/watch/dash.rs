//! MPEG-DASH: an MPD with a SegmentTimeline, its segments by `$Number$` or `$Time$`.

use std::time::Duration;

use serde::Deserialize;
use tokio::time::{Instant, sleep_until};

use super::viewer::{START_SEGMENTS, Viewer};
use crate::Error;
use crate::client::Client;
use crate::playlist::time_of_day;

/// An MPD is not asked for more often, whatever its `minimumUpdatePeriod` says.
const RELOAD_MIN: Duration = Duration::from_millis(500);

/// A timeline names no more segments: a day of segments of a second.
const SEGMENTS_MAX: usize = 86_400;

/// What a player takes from an MPD: the segments of each set of alternatives, of all Periods.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    is_ended: bool,
    reload: Duration,
    tracks: Vec<Vec<Segment>>,
}

#[derive(Debug, PartialEq, Eq)]
struct Segment {
    initialization: String,
    media: String,
    duration: Duration,
    /// The time of day at its end, since 1970.
    ends_at: Duration,
}

/// The elements and attributes that count (ISO/IEC 23009-1 5.3).
#[derive(Debug, Deserialize)]
struct Mpd {
    #[serde(rename = "@type")]
    kind: Option<String>,
    #[serde(rename = "@availabilityStartTime")]
    availability_start_time: Option<String>,
    #[serde(rename = "@minimumUpdatePeriod")]
    minimum_update_period: Option<String>,
    #[serde(rename = "Period", default)]
    periods: Vec<Period>,
}

#[derive(Debug, Deserialize)]
struct Period {
    #[serde(rename = "@start")]
    start: Option<String>,
    #[serde(rename = "AdaptationSet", default)]
    sets: Vec<AdaptationSet>,
}

#[derive(Debug, Deserialize)]
struct AdaptationSet {
    #[serde(rename = "SegmentTemplate")]
    template: Option<SegmentTemplate>,
    #[serde(rename = "Representation", default)]
    representations: Vec<Representation>,
}

#[derive(Debug, Deserialize)]
struct Representation {
    #[serde(rename = "@id", default)]
    id: String,
    #[serde(rename = "SegmentTemplate")]
    template: Option<SegmentTemplate>,
}

#[derive(Debug, Deserialize)]
struct SegmentTemplate {
    #[serde(rename = "@media", default)]
    media: String,
    #[serde(rename = "@initialization", default)]
    initialization: String,
    #[serde(rename = "@timescale")]
    timescale: Option<u64>,
    #[serde(rename = "@presentationTimeOffset", default)]
    presentation_time_offset: u64,
    #[serde(rename = "@startNumber")]
    start_number: Option<u64>,
    #[serde(rename = "SegmentTimeline")]
    timeline: Option<Timeline>,
}

#[derive(Debug, Deserialize)]
struct Timeline {
    #[serde(rename = "S", default)]
    runs: Vec<Run>,
}

#[derive(Debug, Deserialize)]
struct Run {
    #[serde(rename = "@t")]
    t: Option<u64>,
    #[serde(rename = "@d")]
    d: u64,
    #[serde(rename = "@r", default)]
    r: u64,
}

impl Manifest {
    /// Reads an MPD.
    pub(crate) fn parse(text: &str) -> Result<Manifest, Error> {
        let wrong = |what: &str| Error::Playlist(format!("MPD: {what}"));
        let mpd: Mpd = quick_xml::de::from_str(text).map_err(|error| wrong(&error.to_string()))?;
        let origin = mpd.availability_start_time.as_deref().and_then(time_of_day).unwrap_or_default();
        let reload = mpd.minimum_update_period.as_deref().and_then(duration);
        let mut tracks = Vec::<Vec<Segment>>::new();
        for period in &mpd.periods {
            let start = period.start.as_deref().map_or(Some(Duration::ZERO), duration);
            let begins =
                start.and_then(|start| origin.checked_add(start)).ok_or_else(|| wrong("Period@start"))?;
            for (index, set) in period.sets.iter().enumerate() {
                let representation = set.representations.first().ok_or_else(|| wrong("no Representation"))?;
                let template = representation.template.as_ref().or(set.template.as_ref());
                let segments = template.and_then(|template| template.segments(&representation.id, begins));
                let segments = segments.ok_or_else(|| wrong("no SegmentTimeline that can be followed"))?;
                match tracks.get_mut(index) {
                    Some(track) => track.extend(segments),
                    None => tracks.push(segments),
                }
            }
        }
        Ok(Manifest {
            is_ended: mpd.kind.as_deref() != Some("dynamic"),
            reload: reload.unwrap_or_default().max(RELOAD_MIN),
            tracks,
        })
    }
}

impl SegmentTemplate {
    /// Of a Period that begins at this time of day; `None` for what can't be followed.
    fn segments(&self, id: &str, begins: Duration) -> Option<Vec<Segment>> {
        let named = |template: &str, number: u64, time: u64| {
            let name = template.replace("$RepresentationID$", id).replace("$Number$", &number.to_string());
            let name = name.replace("$Time$", &time.to_string());
            (!name.contains('$')).then_some(name)
        };
        let timescale = self.timescale.unwrap_or(1);
        let time = |ticks: u64| {
            let ns = u128::from(ticks).checked_mul(1_000_000_000)?.checked_div(u128::from(timescale))?;
            Some(Duration::from_nanos(u64::try_from(ns).ok()?))
        };
        let (mut number, mut t) = (self.start_number.unwrap_or(1), 0_u64);
        let mut segments = Vec::new();
        for run in &self.timeline.as_ref()?.runs {
            t = run.t.unwrap_or(t);
            for _ in 0..=run.r {
                let end = t.checked_add(run.d)?;
                let since = time(end.saturating_sub(self.presentation_time_offset))?;
                segments.push(Segment {
                    initialization: named(&self.initialization, number, t)?,
                    media: named(&self.media, number, t)?,
                    duration: time(run.d)?,
                    ends_at: begins.checked_add(since)?,
                });
                if segments.len() > SEGMENTS_MAX {
                    return None;
                }
                (number, t) = (number.checked_add(1)?, end);
            }
        }
        Some(segments)
    }
}

/// An xs:duration of days, hours, minutes and seconds.
fn duration(text: &str) -> Option<Duration> {
    let (days, time) = match text.strip_prefix('P')?.split_once('T') {
        Some(parts) => parts,
        None => (text.strip_prefix('P')?, ""),
    };
    let mut seconds = 0.0;
    for (mut rest, units) in
        [(days, &[('D', 86_400.0)][..]), (time, &[('H', 3_600.0), ('M', 60.0), ('S', 1.0)])]
    {
        for (unit, factor) in units {
            if let Some((number, behind)) = rest.split_once(*unit) {
                seconds += number.parse::<f64>().ok()? * factor;
                rest = behind;
            }
        }
        if !rest.is_empty() {
            return None;
        }
    }
    Duration::try_from_secs_f64(seconds).ok()
}

/// Follows an MPD until its presentation ends.
pub(crate) async fn follow(viewer: &Viewer<'_>) -> Result<(), Error> {
    let mut client = Client::connect(&viewer.address, viewer.source).await?;
    // Per track: the last initialization segment, and where the last segment ended.
    let mut known: Vec<(String, Option<Duration>)> = Vec::new();
    loop {
        let asked = Instant::now();
        let answer = viewer.document(&mut client, &viewer.address.path).await?;
        let manifest = viewer.shared.manifests.read(&viewer.address.path, &answer, Manifest::parse)?;
        if known.is_empty() {
            known.resize(manifest.tracks.len(), (String::new(), None));
            viewer.begin(manifest.tracks.len(), Duration::ZERO);
        }
        let mut newest = None;
        for (track, (segments, known)) in manifest.tracks.iter().zip(&mut known).enumerate() {
            let first = match known.1 {
                Some(end) => segments.partition_point(|segment| segment.ends_at <= end),
                None => segments.len().saturating_sub(START_SEGMENTS),
            };
            for segment in segments.iter().skip(first) {
                if segment.initialization != known.0 {
                    viewer.media(&mut client, &viewer.address, &segment.initialization).await?;
                    known.0.clone_from(&segment.initialization);
                }
                viewer.media(&mut client, &viewer.address, &segment.media).await?;
                viewer.arrived(track, segment.duration);
                known.1 = Some(segment.ends_at);
                newest = newest.max(Some(segment.ends_at));
            }
        }
        if let Some(ends_at) = newest {
            viewer.note_behind(ends_at);
        }
        if manifest.is_ended {
            return Ok(());
        }
        sleep_until(asked + manifest.reload).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIVE: &str = r#"<?xml version="1.0"?>
        <MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="dynamic" availabilityStartTime="2000-01-01T00:00:00Z"
            minimumUpdatePeriod="PT2S">
          <Period id="1" start="PT24H0.5S">
            <AdaptationSet contentType="video">
              <SegmentTemplate timescale="90000" presentationTimeOffset="180000" startNumber="7"
                  initialization="$RepresentationID$/init.mp4" media="$RepresentationID$/$Number$.m4s">
                <SegmentTimeline><S t="180000" d="180000" r="1"/><S d="90000"/></SegmentTimeline>
              </SegmentTemplate>
              <Representation id="v"/>
            </AdaptationSet>
            <AdaptationSet contentType="audio">
              <Representation id="a">
                <SegmentTemplate timescale="48000" initialization="a.mp4" media="a/$Time$.m4s">
                  <SegmentTimeline><S t="96000" d="48000"/></SegmentTimeline>
                </SegmentTemplate>
              </Representation>
            </AdaptationSet>
          </Period>
        </MPD>"#;

    #[test]
    fn a_live_presentation() {
        let manifest = Manifest::parse(LIVE).unwrap();
        assert_eq!((manifest.is_ended, manifest.reload), (false, Duration::from_secs(2)));
        let [video, audio] = manifest.tracks.as_slice() else { panic!("{manifest:?}") };
        let names: Vec<_> = video.iter().map(|segment| segment.media.as_str()).collect();
        assert_eq!(names, ["v/7.m4s", "v/8.m4s", "v/9.m4s"]);
        let last = video.last().unwrap();
        assert_eq!((last.initialization.as_str(), last.duration), ("v/init.mp4", Duration::from_secs(1)));
        // 2000-01-02 00:00:00.5, and five seconds.
        assert_eq!(last.ends_at, Duration::from_millis(946_771_205_500));
        assert_eq!(audio.first().map(|segment| segment.media.as_str()), Some("a/96000.m4s"));
    }

    #[test]
    fn what_can_not_be_followed() {
        for (name, text) in [
            ("nothing", String::new()),
            ("no XML", "#EXTM3U".to_owned()),
            ("numbers without a timeline", LIVE.replace("SegmentTimeline", "Other")),
            ("an identifier that nobody knows", LIVE.replace("$Number$", "$Number%05d$")),
            ("more segments than fit", LIVE.replace(r#"r="1""#, r#"r="18446744073709551615""#)),
            ("ticks that overflow", LIVE.replace(r#"S t="180000""#, r#"S t="18446744073709551615""#)),
            ("no timescale", LIVE.replace("90000\" p", "0\" p")),
            ("a start that is none", LIVE.replace("PT24H0.5S", "24 hours")),
        ] {
            assert!(Manifest::parse(&text).is_err(), "{name}");
        }
    }

    #[test]
    fn durations() {
        for (text, expected) in [
            ("PT2S", Some(2_000)),
            ("P1DT1H1M1.5S", Some(90_061_500)),
            ("PT0S", Some(0)),
            ("P1D", Some(86_400_000)),
            ("PT2", None),
            ("2S", None),
            ("PT-1S", None),
        ] {
            assert_eq!(duration(text).map(|duration| duration.as_millis()), expected, "{text}");
        }
    }
}
