//! Which segments an MPD announces for one Representation of one Period, and when they have to be there.

use headwater_manifest::dash::check::{MpdText, PeriodText, SegmentTemplateText};

/// Where a live Period is joined: three segments from its end, as players do.
const JOIN_SEGMENTS: u64 = 3;

/// A segment that is announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) number: u64,
    /// S@t, or what follows from the number and @duration.
    pub(super) t: u64,
    pub(super) d: u64,
}

/// A Period in time, microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// From the start of the presentation.
    pub(super) start_us: i64,
    /// Where it ends, if that is known.
    end_us: Option<i64>,
    /// MPD@availabilityStartTime of a dynamic MPD.
    availability_start_us: Option<i64>,
    dynamic: bool,
}

impl Span {
    /// Of the Period `index` of `mpd`.
    pub(super) fn of(mpd: &MpdText, index: usize, period: &PeriodText) -> Span {
        let start_us = period.start_us.unwrap_or(0);
        let own_end = period.duration_us.and_then(|duration| start_us.checked_add(duration));
        let next_start = || mpd.periods.get(index.checked_add(1)?)?.start_us;
        let is_last = index.checked_add(1) == Some(mpd.periods.len());
        let presentation_end = || mpd.media_presentation_duration_us.filter(|_| is_last);
        Span {
            start_us,
            end_us: own_end.or_else(next_start).or_else(presentation_end),
            availability_start_us: mpd.availability_start_time_us.filter(|_| mpd.dynamic),
            dynamic: mpd.dynamic,
        }
    }

    /// When a segment has to be there, microseconds since the Unix epoch; `None` in a static MPD (DASH A.3.2).
    pub(super) fn available_at_us(&self, template: &SegmentTemplateText, segment: Segment) -> Option<i64> {
        let edge_us = self.edge_us(template, segment)?;
        edge_us.checked_sub(template.availability_time_offset_us)
    }

    /// The wall clock that the end of a segment stands for.
    pub(super) fn edge_us(&self, template: &SegmentTemplateText, segment: Segment) -> Option<i64> {
        // Three numbers of 64 bits.
        let end =
            i128::from(segment.t) + i128::from(segment.d) - i128::from(template.presentation_time_offset);
        let end_us = end.checked_mul(1_000_000)? / i128::from(template.timescale.max(1));
        let start_us = self.availability_start_us?.checked_add(self.start_us)?;
        start_us.checked_add(i64::try_from(end_us).ok()?)
    }

    /// Indices of a template with @duration that are announced by `now_us`; `None` when the end can't be known.
    fn nominal_count(&self, template: &SegmentTemplateText, d: u64, now_us: i64) -> Option<u64> {
        let length = i128::from(d).checked_mul(1_000_000).filter(|length| *length > 0)?;
        let scale = i128::from(template.timescale);
        let until = |us: i64| i128::from(us).checked_mul(scale);
        // The last segment of a Period may be shorter.
        let by_end = self.end_us.and_then(|end| {
            let until_end = until(end.checked_sub(self.start_us)?)?;
            Some(until_end.checked_add(length.checked_sub(1)?)? / length)
        });
        let by_clock = self.availability_start_us.and_then(|start| {
            let since_us = now_us.checked_sub(start)?.checked_sub(self.start_us)?;
            Some(until(since_us.checked_add(template.availability_time_offset_us)?)? / length)
        });
        let count = match (by_end, by_clock.filter(|_| self.dynamic)) {
            (Some(a), Some(b)) => a.min(b),
            (a, b) => a.or(b)?,
        };
        Some(u64::try_from(count.max(0)).unwrap_or(u64::MAX))
    }
}

/// The first time that a player asks for when it joins at the live edge; `None` when nothing is announced yet.
pub(super) fn join(template: &SegmentTemplateText, span: &Span, now_us: i64) -> Option<u64> {
    match template.duration {
        Some(d) if template.timeline.is_none() => {
            let count = span.nominal_count(template, d, now_us).filter(|count| *count > 0)?;
            let first = count.saturating_sub(JOIN_SEGMENTS);
            Some(template.presentation_time_offset.saturating_add(first.saturating_mul(d)))
        }
        _ => template.newest_segments(JOIN_SEGMENTS).last().map(|(_, t, _)| t),
    }
}

/// The first `max` segments that start at `from` or later, in order. Empty too when the template says neither timeline nor
/// a @duration whose end can be known.
pub(super) fn segments(
    template: &SegmentTemplateText,
    span: &Span,
    from: u64,
    now_us: i64,
    max: usize,
) -> Vec<Segment> {
    let mut found = Vec::new();
    if let Some(timeline) = &template.timeline {
        for run in timeline.runs.iter().filter(|run| run.end() > from) {
            let first = from.saturating_sub(run.t).div_ceil(run.d.max(1));
            for n in first..run.count {
                if found.len() >= max {
                    return found;
                }
                let number = template.start_number.saturating_add(run.index).saturating_add(n);
                found.push(Segment { number, t: run.time(n), d: run.d });
            }
        }
    } else if let Some(d) = template.duration
        && let Some(count) = span.nominal_count(template, d, now_us)
    {
        let first = from.saturating_sub(template.presentation_time_offset).div_ceil(d);
        for n in (first..count).take(max) {
            let t = n.checked_mul(d).and_then(|t| t.checked_add(template.presentation_time_offset));
            let Some(t) = t else { break };
            found.push(Segment { number: template.start_number.saturating_add(n), t, d });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use headwater_manifest::dash::check::Checker;

    use super::*;

    fn mpd(kind: &str, template: &str) -> MpdText {
        let text = format!(
            "<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" {kind} minBufferTime=\"PT2S\" profiles=\"p\"><Period id=\"1\" start=\"PT10S\"><AdaptationSet>\
             <SegmentTemplate timescale=\"10\" media=\"$Number$.m4s\" {template}</SegmentTemplate>\
             <Representation id=\"v\" bandwidth=\"1\"/></AdaptationSet></Period></MPD>"
        );
        let mut checker = Checker::new();
        checker.observe(&text, None);
        checker.mpd().cloned().expect("an MPD with a Period")
    }

    /// Join, and the segments from there: (number, t), and when the first has to be there.
    fn listed(mpd: &MpdText, now_s: i64) -> (Option<u64>, Vec<(u64, u64)>, Option<i64>) {
        let period = &mpd.periods[0];
        let span = Span::of(mpd, 0, period);
        let template = period.adaptation_sets[0].representations[0].template.clone().unwrap();
        let now_us = now_s * 1_000_000;
        let from = join(&template, &span, now_us);
        let all = segments(&template, &span, from.unwrap_or(0), now_us, 5);
        let at = all.first().and_then(|first| span.available_at_us(&template, *first));
        (from, all.iter().map(|s| (s.number, s.t)).collect(), at.map(|us| us / 1_000_000))
    }

    #[test]
    fn segments_and_their_times() {
        let dynamic = "type=\"dynamic\" availabilityStartTime=\"1970-01-01T00:01:00Z\"";
        let fixed = "type=\"static\" mediaPresentationDuration=\"PT15S\"";
        for (name, kind, template, now_s, expected) in [
            (
                "a timeline",
                dynamic,
                "startNumber=\"7\" presentationTimeOffset=\"100\"><SegmentTimeline><S t=\"100\" d=\"20\" r=\"4\"/></SegmentTimeline>",
                0,
                // 60 s + 10 s + (160 - 100) / 10
                (Some(140), vec![(9, 140), (10, 160), (11, 180)], Some(76)),
            ),
            (
                "a duration, live",
                dynamic,
                "startNumber=\"7\" duration=\"20\">",
                // 21 s after the Period began: ten whole segments.
                91,
                (Some(140), vec![(14, 140), (15, 160), (16, 180)], Some(86)),
            ),
            ("a duration, before the Period", dynamic, "duration=\"20\">", 65, (None, vec![], None)),
            (
                "a duration, static",
                fixed,
                "duration=\"20\">",
                0,
                (Some(0), vec![(1, 0), (2, 20), (3, 40)], None),
            ),
            ("a duration without an end", "type=\"static\"", "duration=\"20\">", 0, (None, vec![], None)),
            (
                "an endless run",
                dynamic,
                "><SegmentTimeline><S t=\"0\" d=\"1\" r=\"9223372036854775806\"/></SegmentTimeline>",
                0,
                (
                    Some(9_223_372_036_854_775_804),
                    vec![
                        (9_223_372_036_854_775_805, 9_223_372_036_854_775_804),
                        (9_223_372_036_854_775_806, 9_223_372_036_854_775_805),
                        (9_223_372_036_854_775_807, 9_223_372_036_854_775_806),
                    ],
                    Some(922_337_203_685_477_650),
                ),
            ),
        ] {
            let mut expected = expected;
            let found = listed(&mpd(kind, template), now_s);
            if name == "an endless run" {
                // The far future doesn't fit microseconds of 64 bits.
                expected.2 = None;
            }
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn a_period_as_long_as_can_be_written() {
        let mpd = mpd("type=\"static\"", "duration=\"18446744073709551615\">");
        let period = &mpd.periods[0];
        let span = Span { start_us: 0, end_us: Some(i64::MAX), ..Span::of(&mpd, 0, period) };
        let template = period.adaptation_sets[0].representations[0].template.as_deref().unwrap();
        let template = SegmentTemplateText { timescale: u64::MAX, ..template.clone() };
        assert_eq!(join(&template, &span, 0), None);
    }
}
