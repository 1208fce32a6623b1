//! The CMAF packaging over a restart of the server.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use headwater_cmaf::InitSegment;
use headwater_media::WallTime;
use serde::{Deserialize, Serialize};

use super::CmafPackaging;
use super::parts::PartPlan;
use crate::kept::{Configs, KeptError, KeptList, KeptPeriod, KeptSegment};
use crate::rates::Rates;
use crate::snapshot::CmafSegment;
use crate::window::Window;

/// What is kept of the CMAF packaging.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeptCmaf {
    part_duration: Option<Duration>,
    plan: Option<PartPlan>,
    /// How many initialization segments there are.
    inits: usize,
    periods: Vec<KeptPeriod>,
    /// MPD@publishTime of both MPDs, in ms, and what tells their texts from others.
    published: [(i64, u64); 2],
    video: Option<KeptTrack>,
    audio: Option<KeptTrack>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct KeptTrack {
    list: KeptList,
    rates: Rates,
}

impl KeptCmaf {
    pub(crate) fn lists(&self) -> impl Iterator<Item = &KeptList> {
        self.video.iter().chain(&self.audio).map(|track| &track.list)
    }

    pub(crate) fn periods(&self) -> &[KeptPeriod] {
        &self.periods
    }

    /// How many bodies come before those of MPEG-TS.
    pub(crate) fn inits(&self) -> usize {
        self.inits
    }
}

impl CmafPackaging {
    /// The number of the first segment without which less than `keep` would be listed of a track that is published.
    pub(crate) fn first_kept(&self, keep: Duration) -> Option<u64> {
        self.active_windows().map(|window| window.first_that_leaves(keep)).min()
    }

    fn active_windows(&self) -> impl Iterator<Item = &Window<CmafSegment>> {
        let video = self.video.iter().filter(|track| track.active).map(|track| &track.window);
        video.chain(self.audio.iter().filter(|track| track.active).map(|track| &track.window))
    }

    /// What is listed from number `first` to the one before `next`, of the tracks that are published; initialization segments and
    /// media go to `inits` and `bodies`. `None` where a list does not end there.
    pub(crate) fn keep(
        &self,
        (first, next): (u64, u64),
        configs: &mut Configs,
        inits: &mut Vec<Arc<InitSegment>>,
        bodies: &mut Vec<Bytes>,
    ) -> Option<KeptCmaf> {
        let mut keep = |window: &Window<CmafSegment>, rates: &Rates| {
            let list = KeptList::of(window.listed_from(first), next, |segment| {
                KeptSegment::of_cmaf(segment, inits, bodies)
            })?;
            Some(KeptTrack { list, rates: rates.clone() })
        };
        let video = match self.video.as_ref().filter(|track| track.active) {
            Some(track) => Some(keep(&track.window, &track.rates)?),
            None => None,
        };
        let audio = match self.audio.as_ref().filter(|track| track.active) {
            Some(track) => Some(keep(&track.window, &track.rates)?),
            None => None,
        };
        let lists = video.iter().chain(&audio).map(|track| &track.list);
        let oldest = lists.filter_map(KeptList::first_period).min()?;
        let periods = self.periods.iter().filter(|period| period.id >= oldest);
        Some(KeptCmaf {
            part_duration: self.part_duration,
            plan: self.plan,
            inits: inits.len(),
            periods: periods.map(|period| KeptPeriod::of(period, configs)).collect(),
            published: {
                let [text, low_latency_text] = self.texts;
                let (at, low_latency_at) = (self.published_at, self.low_latency_published_at);
                [(at.unix_millis(), text), (low_latency_at.unix_millis(), low_latency_text)]
            },
            video,
            audio,
        })
    }

    /// Lists again what was kept, its tracks being those that are published. Bodies come from `inits` and `bodies`.
    ///
    /// # Errors
    /// [`KeptError`].
    pub(crate) fn restore(
        &mut self,
        kept: KeptCmaf,
        next: u64,
        configs: &Configs,
        inits: &[Arc<InitSegment>],
        bodies: &mut impl Iterator<Item = Bytes>,
    ) -> Result<(), KeptError> {
        if kept.part_duration != self.part_duration {
            return Err(KeptError::Packaging);
        }
        let plan_is_sound = |plan: PartPlan| plan.nominal > 0 && (1..=20_000).contains(&plan.target_ms);
        if kept.plan.is_some_and(|plan| !plan_is_sound(plan)) {
            return Err(KeptError::Damaged);
        }
        self.plan = kept.plan;
        let periods: Result<_, _> = kept.periods.iter().map(|period| period.period(configs)).collect();
        self.periods = periods?;
        let ids: Vec<u64> = self.periods.iter().map(|period| period.id).collect();
        let mut segments = |track: &KeptTrack| {
            let numbered = track.list.numbered(next);
            let segments: Result<Vec<_>, _> =
                numbered.map(|(sequence, segment)| segment.cmaf(sequence, inits, bodies)).collect();
            let segments = segments?;
            let has_period = |(segment, _): &(CmafSegment, _)| ids.contains(&segment.period);
            if segments.is_empty() || !segments.iter().all(has_period) {
                return Err(KeptError::Damaged);
            }
            Ok(segments)
        };
        if let Some(kept) = kept.video {
            let track = self.video.as_mut().ok_or(KeptError::Damaged)?;
            track.window.refill(kept.list.discontinuity_sequence, segments(&kept)?);
            track.rates = kept.rates;
        }
        if let Some(kept) = kept.audio {
            let track = self.audio.as_mut().ok_or(KeptError::Damaged)?;
            let segments = segments(&kept)?;
            if let Some((last, _)) = segments.last() {
                track.go_on_from(last.start.offset_by(last.duration.ticks()));
            }
            track.window.refill(kept.list.discontinuity_sequence, segments);
            track.rates = kept.rates;
        }
        let [(at, text), (low_latency_at, low_latency_text)] = kept.published;
        self.texts = [text, low_latency_text];
        self.published_at = WallTime::from_unix_millis(at);
        self.low_latency_published_at = WallTime::from_unix_millis(low_latency_at);
        // No more is there than is listed, whatever was asked for.
        self.is_shortened = true;
        Ok(())
    }
}
