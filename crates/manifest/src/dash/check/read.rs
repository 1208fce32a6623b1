//! From elements to the model, reporting what is missing or of a wrong form in one version alone.

use std::sync::Arc;

use super::excerpt;
use super::model::{
    AdaptationSetText, MpdText, PeriodText, RepresentationText, RunText, SegmentTemplateText, TimelineText,
};
use super::values::{date_time_us, duration_us, integer, seconds_us};
use super::xml::Element;
use crate::dash::PERIOD_CONTINUITY;
use crate::findings::Findings;

/// Most Representations of an MPD that are examined: each costs its strings, and no ladder here has ten.
pub(super) const REPRESENTATIONS_MAX: usize = 1_024;

/// Most Periods that are examined: the pairs of two versions are looked for one by one.
pub(super) const PERIODS_MAX: usize = 1_024;

/// Reads an MPD, reporting faults of its attributes and timelines.
pub(super) fn read(root: &Element, findings: &mut Findings) -> MpdText {
    let mut mpd = MpdText {
        dynamic: root.attribute("type") == Some("dynamic"),
        availability_start_time_us: date(root, "availabilityStartTime", findings),
        publish_time_us: date(root, "publishTime", findings),
        minimum_update_period_us: duration(root, "minimumUpdatePeriod", findings),
        min_buffer_time_us: duration(root, "minBufferTime", findings),
        time_shift_buffer_depth_us: duration(root, "timeShiftBufferDepth", findings),
        suggested_presentation_delay_us: duration(root, "suggestedPresentationDelay", findings),
        max_segment_duration_us: duration(root, "maxSegmentDuration", findings),
        media_presentation_duration_us: duration(root, "mediaPresentationDuration", findings),
        utc_timings: root.all("UTCTiming").map(descriptor).collect(),
        periods: Vec::new(),
    };
    if let Some(kind) = root.attribute("type")
        && !matches!(kind, "dynamic" | "static")
    {
        findings.error("dash 5", format!("MPD@type is {}", excerpt(kind)));
    }
    if root.attribute("profiles").is_none() {
        findings.error("dash 5", "MPD@profiles is missing");
    }
    let mut reader = Reader { findings, representations: 0 };
    // Where a Period without @start begins: at 0 in a static MPD, else behind the one before it (DASH 5.3.2.1).
    let mut next_start_us = (!mpd.dynamic).then_some(0);
    for element in root.all("Period") {
        if mpd.periods.len() >= PERIODS_MAX {
            reader.findings.error("dash 5", format!("only the first {PERIODS_MAX} Periods are examined"));
            break;
        }
        let period = reader.period(element, next_start_us, &base_urls(&[], root));
        next_start_us =
            period.start_us.zip(period.duration_us).and_then(|(start, length)| start.checked_add(length));
        mpd.periods.push(period);
    }
    mpd
}

/// @schemeIdUri and @value.
fn descriptor(element: &Element) -> (String, String) {
    let text = |name| element.attribute(name).unwrap_or_default().to_owned();
    (text("schemeIdUri"), text("value"))
}

/// The URLs of the levels above, and this level's first.
fn base_urls(above: &[String], element: &Element) -> Vec<String> {
    above.iter().cloned().chain(element.first("BaseURL").map(|url| url.text.clone())).collect()
}

fn date(element: &Element, name: &str, findings: &mut Findings) -> Option<i64> {
    parsed(element, name, "xs:dateTime", date_time_us, findings)
}

fn duration(element: &Element, name: &str, findings: &mut Findings) -> Option<i64> {
    parsed(element, name, "xs:duration", duration_us, findings)
}

fn unsigned(element: &Element, name: &str, findings: &mut Findings) -> Option<u64> {
    parsed(element, name, "unsigned integer", integer, findings)
}

fn parsed<V>(
    element: &Element,
    name: &str,
    kind: &str,
    parse: fn(&str) -> Option<V>,
    findings: &mut Findings,
) -> Option<V> {
    let text = element.attribute(name)?;
    let value = parse(text);
    if value.is_none() {
        let element = element.name;
        findings.error("dash 5", format!("{element}@{name} is {}, no {kind}", excerpt(text)));
    }
    value
}

struct Reader<'f> {
    findings: &'f mut Findings,
    representations: usize,
}

impl Reader<'_> {
    fn period(&mut self, element: &Element, next_start_us: Option<i64>, above: &[String]) -> PeriodText {
        let base = base_urls(above, element);
        let id = element.attribute("id").map(str::to_owned);
        let place = format!("Period {}", excerpt(id.as_deref().unwrap_or("without @id")));
        let start_us = match element.attribute("start") {
            Some(_) => duration(element, "start", self.findings),
            None => next_start_us,
        };
        let template = self.template(None, element, &place);
        let mut period = PeriodText {
            id,
            start_us,
            duration_us: duration(element, "duration", self.findings),
            adaptation_sets: Vec::new(),
        };
        for set in element.all("AdaptationSet") {
            period.adaptation_sets.push(self.adaptation_set(set, template.as_ref(), &base, &place));
        }
        period
    }

    fn adaptation_set(
        &mut self,
        element: &Element,
        template: Option<&Arc<SegmentTemplateText>>,
        above: &[String],
        place: &str,
    ) -> AdaptationSetText {
        let base = base_urls(above, element);
        let first = element.first("Representation");
        let mime_type = element.attribute("mimeType").or_else(|| first?.attribute("mimeType"));
        let content_type = element.attribute("contentType").or_else(|| mime_type?.split('/').next());
        let content_type = content_type.unwrap_or_default().to_owned();
        let place = format!("{place}, {}", excerpt(&content_type));
        let template = self.template(template, element, &place);
        let continuity = element.all("SupplementalProperty").map(descriptor);
        let mut set = AdaptationSetText {
            id: element.attribute("id").map(str::to_owned),
            lang: element.attribute("lang").map(str::to_owned),
            continuity_of: continuity
                .filter_map(|(scheme, value)| (scheme == PERIOD_CONTINUITY).then_some(value))
                .collect(),
            content_type,
            representations: Vec::new(),
        };
        for representation in element.all("Representation") {
            self.representations = self.representations.saturating_add(1);
            if self.representations > REPRESENTATIONS_MAX {
                let limit = format!("only the first {REPRESENTATIONS_MAX} Representations are examined");
                self.findings.error("dash 5", limit);
                break;
            }
            set.representations.push(self.representation(
                representation,
                element,
                template.as_ref(),
                &base,
                &place,
            ));
        }
        set
    }

    fn representation(
        &mut self,
        element: &Element,
        set: &Element,
        template: Option<&Arc<SegmentTemplateText>>,
        above: &[String],
        place: &str,
    ) -> RepresentationText {
        let id = element.attribute("id").unwrap_or_default().to_owned();
        let place = format!("{place} {}", excerpt(&id));
        let template = self.template(template, element, &place);
        if template.is_none() {
            // A legal form of other profiles.
            let what = "has no SegmentTemplate; its segments are not examined";
            self.findings.notice("dash 5", format!("{place} {what}"));
        }
        let inherited = |name| element.attribute(name).or_else(|| set.attribute(name));
        let text = |name| inherited(name).map(str::to_owned);
        let number = |name| integer(inherited(name)?);
        RepresentationText {
            bandwidth: unsigned(element, "bandwidth", self.findings).unwrap_or(0),
            mime_type: text("mimeType"),
            codecs: text("codecs"),
            resolution: number("width").zip(number("height")),
            frame_rate: text("frameRate"),
            audio_sampling_rate: text("audioSamplingRate"),
            base_urls: base_urls(above, element),
            template,
            id,
        }
    }

    /// The SegmentTemplate of `around`, over what is inherited.
    fn template(
        &mut self,
        inherited: Option<&Arc<SegmentTemplateText>>,
        around: &Element,
        place: &str,
    ) -> Option<Arc<SegmentTemplateText>> {
        let Some(element) = around.first("SegmentTemplate") else { return inherited.cloned() };
        let above = inherited.map(|above| SegmentTemplateText::clone(above)).unwrap_or_default();
        let timescale = unsigned(element, "timescale", self.findings).unwrap_or(above.timescale);
        if timescale == 0 {
            self.findings.error("dash 5.4", format!("{place}: SegmentTemplate@timescale is 0"));
        }
        let text = |name| element.attribute(name).map(Arc::from);
        Some(Arc::new(SegmentTemplateText {
            timescale: timescale.max(1),
            presentation_time_offset: unsigned(element, "presentationTimeOffset", self.findings)
                .unwrap_or(above.presentation_time_offset),
            start_number: unsigned(element, "startNumber", self.findings).unwrap_or(above.start_number),
            availability_time_offset_us: element
                .attribute("availabilityTimeOffset")
                .map_or(above.availability_time_offset_us, |offset| seconds_us(offset).unwrap_or(0)),
            initialization: text("initialization").or(above.initialization),
            media: text("media").or(above.media),
            duration: unsigned(element, "duration", self.findings).or(above.duration),
            timeline: match element.first("SegmentTimeline") {
                Some(timeline) => Some(Arc::new(self.timeline(timeline, place))),
                None => above.timeline,
            },
        }))
    }

    /// Runs up to the first `S` whose place can't be known.
    fn timeline(&mut self, element: &Element, place: &str) -> TimelineText {
        let mut timeline = TimelineText { runs: Vec::new(), complete: true };
        for s in element.all("S") {
            let number = timeline.count().saturating_add(1);
            let place = format!("{place}: the {number}. segment");
            let Some(d) = unsigned(s, "d", self.findings).filter(|d| *d > 0) else {
                self.findings.error("dash 5.2", format!("{place} has no S@d, or one that is 0"));
                timeline.complete = false;
                break;
            };
            let explicit = unsigned(s, "t", self.findings);
            let t = match (timeline.end(), explicit) {
                (None, None) => {
                    self.findings.warning("dash 5.2", format!("{place} is the first and has no S@t"));
                    0
                }
                (None, Some(t)) => t,
                (Some(end), explicit) => {
                    let t = explicit.unwrap_or(end);
                    if t > end {
                        let hole = t.saturating_sub(end);
                        let what = format!("{place} starts {hole} ticks late: a hole, where dash.js stalls");
                        self.findings.error("dash 5.7", what);
                    } else if t < end {
                        let overlap = end.saturating_sub(t);
                        let what = format!("{place} starts {overlap} ticks before the one before it ends");
                        self.findings.error("dash 5.2", what);
                    }
                    t
                }
            };
            let count = match repeats(s.attribute("r")) {
                Some(r) => r.saturating_add(1),
                None => {
                    let r = excerpt(s.attribute("r").unwrap_or_default());
                    self.findings.error("dash 5.2", format!("{place} has S@r {r}: the count must be said"));
                    timeline.complete = false;
                    1
                }
            };
            let run = RunText { index: timeline.count(), count, t, d };
            let end = d.checked_mul(count).and_then(|length| length.checked_add(t));
            if end.is_none() || run.index.checked_add(count).is_none() {
                self.findings.error("dash 5.2", format!("{place} or its repeats end beyond 64 bits"));
                timeline.complete = false;
                break;
            }
            timeline.runs.push(run);
        }
        if timeline.runs.is_empty() {
            self.findings.error("dash 5.2", format!("{place}: the SegmentTimeline lists no segment"));
        }
        timeline
    }
}

/// S@r; `None` for what is no count, which a negative one is not.
fn repeats(r: Option<&str>) -> Option<u64> {
    r.map_or(Some(0), integer)
}
