//! The CMAF packaging over a crash of the server.

use std::sync::Arc;
use std::time::Duration;

use headwater_media::TrackKind;

use super::CmafPackaging;
use crate::over::{NotedPeriod, PeriodOver};
use crate::snapshot::CmafSegment;
use crate::window::Window;

/// The Period of before leaves when so many target durations are listed behind it. Players load the MPD anew each of them, and need
/// to see it once.
const TARGET_DURATIONS_LISTED: u32 = 4;

impl CmafPackaging {
    /// What a successor needs to list the Period that players play; `None` before there is a segment. Of the last two segments
    /// that are complete it is the earlier one: players have had it, and its time is over before a successor has one to list.
    pub(crate) fn noted_period(&self) -> Option<NotedPeriod> {
        let below = self.complete_below();
        let mut newest = self.window(TrackKind::Video).or(self.window(TrackKind::Audio))?.newest_below(below);
        let last = newest.next()?;
        let listed = newest.next().unwrap_or(last);
        let period = self.periods.iter().find(|period| period.id == listed.period)?;
        NotedPeriod::of(period, self.frame_rate_millihertz(), |kind| {
            let mut segments = self.window(kind)?.newest_below(below);
            segments.find(|segment| segment.sequence == listed.sequence).map(Arc::clone)
        })
    }

    fn window(&self, kind: TrackKind) -> Option<&Window<CmafSegment>> {
        match kind {
            TrackKind::Video => self.video.as_ref().filter(|track| track.active).map(|track| &track.window),
            TrackKind::Audio => self.audio.as_ref().filter(|track| track.active).map(|track| &track.window),
        }
    }

    /// An earlier process crashed in that Period. Of the window's time before it nothing is there any more, and
    /// MPD@timeShiftBufferDepth says so: shaka asks for what it thinks is in the window, on and on.
    pub(crate) fn list_over(&mut self, over: PeriodOver) {
        self.over = Some(Arc::new(over));
        self.is_shortened = true;
    }

    /// Lets the Period of before leave once players have had the time to see that it is over.
    pub(super) fn forget_over(&mut self, target_duration: u32) {
        let seen = Duration::from_secs(u64::from(target_duration)) * TARGET_DURATIONS_LISTED;
        if self.over.is_some() && self.listed_least() >= seen.min(self.length) {
            self.over = None;
        }
    }
}
