//! Bit rates and the frame rate as measured, for EXT-X-STREAM-INF and the API.

use serde::{Deserialize, Serialize};

use crate::snapshot::Bandwidth;

/// Margin on the measured peak: a live peak must stay under 125 % of BANDWIDTH (Apple authoring specification 1.29).
const PEAK_MARGIN_PERCENT: u64 = 20;

/// Segments that the averages look back on, roughly; older ones fade.
const SEGMENTS_AVERAGED: u64 = 16;

/// Shorter segments say nothing about the peak: runs of at least half a target duration count (8216bis 4.1).
const PEAK_TICKS_MIN: i64 = 45_000;

/// Sums over recent segments.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Rates {
    bits: u64,
    ticks: u64,
    frames: u64,
    segments: u64,
    running_frames: u64,
    bandwidth: Option<Bandwidth>,
}

impl Rates {
    /// A video frame went into the running segment.
    pub(crate) fn frame(&mut self) {
        self.running_frames = self.running_frames.saturating_add(1);
    }

    /// A segment of that many bytes and 90 kHz ticks ended.
    pub(crate) fn segment(&mut self, size_bytes: usize, ticks: i64) {
        let frames = std::mem::take(&mut self.running_frames);
        let Ok(ticks) = u64::try_from(ticks) else { return };
        if ticks == 0 {
            return;
        }
        let bits = (size_bytes as u64).saturating_mul(8);
        if self.segments >= SEGMENTS_AVERAGED {
            self.bits /= 2;
            self.ticks /= 2;
            self.frames /= 2;
            self.segments /= 2;
        }
        self.bits = self.bits.saturating_add(bits);
        self.ticks = self.ticks.saturating_add(ticks);
        self.frames = self.frames.saturating_add(frames);
        self.segments = self.segments.saturating_add(1);
        let average = per_second(self.bits, self.ticks).max(1);
        let measured = per_second(bits, ticks).max(1);
        let known = self.bandwidth.map_or(0, |bandwidth| bandwidth.peak);
        let counts = i64::try_from(ticks).is_ok_and(|ticks| ticks >= PEAK_TICKS_MIN) || known == 0;
        // Raised only when the measured peak passes what was stated: players fetch the multivariant playlist once.
        let peak = if counts && measured > known {
            measured.saturating_add(measured.saturating_mul(PEAK_MARGIN_PERCENT) / 100)
        } else {
            known
        };
        self.bandwidth = Some(Bandwidth { peak, average: average.min(peak) });
    }

    /// Bit rates, once a segment ended.
    pub(crate) fn bandwidth(&self) -> Option<Bandwidth> {
        self.bandwidth
    }

    /// Frames per 1,000 seconds over recent segments.
    pub(crate) fn frame_rate_millihertz(&self) -> Option<u32> {
        if self.frames < 2 || self.ticks == 0 {
            return None;
        }
        u32::try_from(self.frames.saturating_mul(90_000_000).saturating_add(self.ticks / 2) / self.ticks).ok()
    }
}

fn per_second(amount: u64, ticks: u64) -> u64 {
    u64::try_from(u128::from(amount) * 90_000 / u128::from(ticks.max(1))).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peak_has_margin_and_stays_until_it_is_passed() {
        let mut rates = Rates::default();
        rates.segment(250_000, 180_000);
        assert_eq!(rates.bandwidth(), Some(Bandwidth { peak: 1_200_000, average: 1_000_000 }));
        rates.segment(280_000, 180_000);
        assert_eq!(rates.bandwidth().unwrap().peak, 1_200_000);
        rates.segment(350_000, 180_000);
        assert_eq!(rates.bandwidth().unwrap().peak, 1_680_000);
        rates.segment(9_000, 900);
        assert_eq!(rates.bandwidth().unwrap().peak, 1_680_000, "a sliver is no peak");
    }

    #[test]
    fn frame_rate_of_ntsc() {
        let mut rates = Rates::default();
        for _ in 0..40 {
            (0..60).for_each(|_| rates.frame());
            rates.segment(1, 180_180);
        }
        assert_eq!(rates.frame_rate_millihertz(), Some(29_970));
    }
}
