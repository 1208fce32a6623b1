//! A stream over a restart of the server: as over a publisher's absence, but with only the end of its lists.

use std::sync::Arc;
use std::time::Duration;

use headwater_cmaf::InitSegment;

use super::{Clock, Config, Packager, Session};
use crate::cmaf::{CmafPackaging, KeptCmaf};
use crate::kept::{Configs, Header, Kept, KeptError, KeptList, KeptSegment};
use crate::over::NotedPeriod;
use crate::snapshot::State;
use crate::window::Numbering;

/// Lists list three target durations at least (8216bis 6.2.2), and a player that stood still wants to be one more behind.
const TARGET_DURATIONS_KEPT: u32 = 4;

impl Packager {
    /// What a successor that finds nothing of this process but its notes needs to say of DASH; `None` before there is a segment.
    pub fn noted_period(&self) -> Option<NotedPeriod> {
        self.cmaf.as_ref().and_then(CmafPackaging::noted_period)
    }

    /// An earlier process crashed, and noted the Period that players of DASH play: until they have seen that it is over, the MPDs list it. To be
    /// called before anybody publishes. False where nobody can have noted that.
    pub fn list_as_over(&mut self, noted: &NotedPeriod) -> bool {
        let (Some(cmaf), Some(over)) = (&mut self.cmaf, noted.over(self.sequence)) else { return false };
        cmaf.list_over(over);
        true
    }

    /// What a successor of this process needs to list the stream's last segments again; `None` while somebody publishes, before
    /// anything is listed and after the stream's end.
    pub fn keep(&self) -> Option<Kept> {
        let resume_at = self.resume_at?;
        let is_idle = matches!(self.session, Session::None) && self.cutter.start().is_none();
        if !is_idle || !self.has_listed || self.state != State::Waiting {
            return None;
        }
        let target_duration = self.cutter.target_duration();
        let keep = Duration::from_secs(u64::from(target_duration)) * TARGET_DURATIONS_KEPT;
        let firsts = [
            self.ts.as_ref().map(|ts| ts.window().first_that_leaves(keep)),
            self.cmaf.as_ref().and_then(|cmaf| cmaf.first_kept(keep)),
        ];
        let first = firsts.into_iter().flatten().min()?;
        let (mut configs, mut inits) = (Configs::default(), Vec::new());
        let tracks = configs.keep(&self.active);
        let (mut ts_bodies, mut cmaf_bodies) = (Vec::new(), Vec::new());
        let ts = match &self.ts {
            Some(ts) => Some(KeptList::of(ts.window().listed_from(first), self.sequence, |segment| {
                KeptSegment::of_ts(segment, &mut ts_bodies)
            })?),
            None => None,
        };
        let cmaf = match &self.cmaf {
            Some(cmaf) => {
                Some(cmaf.keep((first, self.sequence), &mut configs, &mut inits, &mut cmaf_bodies)?)
            }
            None => None,
        };
        let mut bodies: Vec<_> = inits.iter().map(|init| init.bytes.clone()).collect();
        bodies.append(&mut ts_bodies);
        bodies.append(&mut cmaf_bodies);
        let lengths: Result<Vec<u32>, _> = bodies.iter().map(|body| u32::try_from(body.len())).collect();
        let header = Header {
            segment_ticks: self.cutter.segment_ticks(),
            timed_metadata: self.timed_metadata,
            target_duration,
            next: self.sequence,
            discontinuities: self.discontinuities,
            resume_at,
            wall_offset_ms: self.wall.offset_ms(),
            timeline: self.timeline.keep(),
            configs,
            tracks,
            rates: self.rates.clone(),
            ts,
            cmaf,
            ranges: self.metadata.keep(),
            lengths: lengths.ok()?,
        };
        Some(Kept { header, bodies })
    }

    /// A packager that lists what an earlier process kept, and waits for a publisher as that one did. What comes next is a
    /// discontinuity: nobody has seen to it that muxers go on.
    ///
    /// # Errors
    /// [`KeptError`] where that would break what players were told; the stream begins anew then.
    pub fn restore(
        config: &Config,
        numbering: Numbering,
        kept: Kept,
        clock: Clock,
    ) -> Result<Packager, KeptError> {
        let Kept { header, bodies } = kept;
        let mut packager = Packager::new(config, numbering);
        if packager.numbers() != (header.next, header.discontinuities) {
            return Err(KeptError::Numbers);
        }
        if header.segment_ticks != packager.cutter.segment_ticks()
            || header.timed_metadata != packager.timed_metadata
        {
            return Err(KeptError::Packaging);
        }
        packager.cutter.fix_target_duration(header.target_duration);
        let tracks = header.configs.tracks(header.tracks)?;
        packager.try_configure(&tracks, clock).map_err(KeptError::Unpackageable)?;
        packager.active = tracks;

        let mut bodies = bodies.into_iter();
        let inits = header.cmaf.as_ref().map_or(0, KeptCmaf::inits);
        let inits: Vec<_> =
            bodies.by_ref().take(inits).map(|init| Arc::new(InitSegment::new(init.to_vec()))).collect();
        if let Some(list) = header.ts {
            let segments: Result<Vec<_>, _> = list
                .numbered(header.next)
                .map(|(sequence, segment)| segment.ts(sequence, &mut bodies))
                .collect();
            let segments = segments?;
            if let Some(ts) = &mut packager.ts {
                ts.refill(list.discontinuity_sequence, segments);
            }
        }
        if let (Some(kept), Some(cmaf)) = (header.cmaf, &mut packager.cmaf) {
            cmaf.restore(kept, header.next, &header.configs, &inits, &mut bodies)?;
        }
        let has_ts = packager.ts.as_ref().is_some_and(|ts| ts.window().first_listed().is_some());
        let has_cmaf = packager.cmaf.as_ref().and_then(CmafPackaging::first_listed).is_some();
        if !(has_ts || has_cmaf) {
            return Err(KeptError::Packaging);
        }
        if !packager.metadata.restore(header.ranges) {
            return Err(KeptError::Damaged);
        }
        packager.slide_metadata();
        packager.rates = header.rates;
        packager.timeline.restore(header.timeline);
        packager.wall.resume(header.wall_offset_ms);
        packager.resume_at = Some(header.resume_at);
        packager.has_listed = true;
        packager.state = State::Waiting;
        Ok(packager)
    }
}
