//! What must hold of a packager between any two calls.

use headwater_media::{MediaTime, Timescale};

use super::Packager;
use crate::snapshot::{Rendition, Segment};

impl Packager {
    /// Checks what must hold between any two calls, for tests and fuzzing.
    ///
    /// # Panics
    /// When it does not hold.
    #[doc(hidden)]
    pub fn check_invariants(&self) {
        let target_duration = self.cutter.target_duration();
        if let Some(ts) = &self.ts {
            let rendition = ts.rendition(target_duration);
            check_rendition(&rendition, |segment| segment.start);
            for segment in rendition.retained.iter().chain(&rendition.listed) {
                assert_eq!(segment.payload.len() % 188, 0, "whole packets");
            }
        }
        if let Some(cmaf) = &self.cmaf {
            cmaf.check_invariants(target_duration);
            let cmaf = cmaf.view(target_duration);
            for rendition in cmaf.renditions() {
                check_rendition(&rendition.window, |segment| segment.start);
                check_edge(rendition);
                for segment in &rendition.listed {
                    assert!(
                        cmaf.periods.iter().any(|period| period.id == segment.period),
                        "a listed segment's period"
                    );
                }
            }
            // Those that are published now; another one only waits for its segments to leave.
            let active = [&self.active.video.as_ref().map(|_| ()), &self.active.audio.as_ref().map(|_| ())];
            let both = active.iter().all(|track| track.is_some());
            let complete = |rendition: &crate::CmafRendition| {
                let listed = rendition.listed.iter().rev().map(|segment| segment.sequence);
                listed.into_iter().find(|sequence| *sequence < cmaf.complete_below)
            };
            let lasts: Vec<_> = cmaf.renditions().filter_map(complete).collect();
            assert!(
                !both || lasts.windows(2).all(|pair| pair.first() == pair.last()),
                "tracks are complete together: {lasts:?}"
            );
            // A track that joined late, or again, starts late; once both have slid they begin together.
            let has_slid = |rendition: &&crate::CmafRendition| {
                let (last, first) = (rendition.retained.last(), rendition.listed.first());
                last.zip(first).is_some_and(|(last, first)| last.sequence + 1 == first.sequence)
            };
            let firsts: Vec<u64> = cmaf
                .renditions()
                .filter(has_slid)
                .filter_map(|rendition| Some(rendition.listed.first()?.sequence))
                .collect();
            assert!(
                !both || firsts.windows(2).all(|pair| pair.first() == pair.last()),
                "tracks are delisted together: {firsts:?}"
            );
        }
    }
}

/// What must hold of a rendition's segments, see [`Packager::check_invariants`].
fn check_rendition<S: Segment>(rendition: &Rendition<S>, start: impl Fn(&S) -> MediaTime) {
    let all: Vec<_> = rendition.retained.iter().chain(&rendition.listed).collect();
    for pair in all.windows(2) {
        let [left, right] = pair else { continue };
        let follows = left.sequence() + 1 == right.sequence();
        assert!(
            follows || (right.discontinuity() && left.sequence() < right.sequence()),
            "numbers count by one"
        );
        let end = start(left).offset_by(left.duration().rescale(start(left).scale()).ticks());
        assert!(
            start(right) >= end || right.discontinuity(),
            "media time went back: {end:?} {:?}",
            start(right)
        );
        if !right.discontinuity() {
            assert_eq!(end, start(right), "a hole without a tag before segment {}", right.sequence());
        }
    }
    for segment in &all {
        assert!(segment.duration().ticks() > 0, "empty duration");
    }
    for segment in &rendition.listed {
        let rounded = (segment.duration().rescale(Timescale::MILLIS).ticks() + 500) / 1_000;
        assert!(
            rounded <= i64::from(rendition.target_duration),
            "segment {} is too long: {} ms at {} Hz, the target is {} s",
            segment.sequence(),
            segment.duration().millis(),
            segment.duration().scale().hz(),
            rendition.target_duration
        );
    }
}

/// What must hold of a rendition's parts.
fn check_edge(rendition: &crate::CmafRendition) {
    for segment in rendition.retained.iter().chain(&rendition.listed) {
        let sum: i64 = segment.parts.iter().map(|part| part.duration.ticks()).sum();
        assert_eq!(sum, segment.duration.ticks(), "parts make their segment");
        assert!(!segment.parts.is_empty(), "a segment has a part");
    }
    if let (Some(edge), Some(last)) = (&rendition.edge, rendition.listed.last()) {
        assert!(edge.sequence > last.sequence, "what is under construction comes after what is listed");
        assert_eq!(edge.start.is_some(), !edge.parts.is_empty());
    }
}
